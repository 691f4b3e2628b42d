//! A look at a GGUF file before llama.cpp gets it.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::LlamaError;

/// Bytes of the smallest header: magic, version, number of tensors, number of metadata entries.
const HEADER_BYTES: usize = 24;

/// Checks that `path` is a readable GGUF file of a version that llama.cpp reads.
///
/// # Errors
/// [`LlamaError::File`] or [`LlamaError::NotGguf`] with what is wrong and what to do.
pub(crate) fn check(path: &Path) -> Result<(), LlamaError> {
    let file = |error: std::io::Error| LlamaError::File {
        path: path.to_owned(),
        message: error.to_string(),
    };
    let not_gguf = |message: &str| {
        Err(LlamaError::NotGguf {
            path: path.to_owned(),
            message: message.to_owned(),
        })
    };
    let mut header = Vec::new();
    let opened = File::open(path).map_err(file)?;
    opened
        .take(HEADER_BYTES as u64)
        .read_to_end(&mut header)
        .map_err(file)?;
    if !header.starts_with(b"GGUF") {
        return not_gguf("it does not begin with the letters GGUF");
    }
    if header.len() < HEADER_BYTES {
        return not_gguf("it ends within its header; it was not downloaded completely");
    }
    let version = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
    if !(2..=3).contains(&version) {
        return not_gguf(&format!(
            "its version is {version}; versions 2 and 3 can be read"
        ));
    }
    Ok(())
}
