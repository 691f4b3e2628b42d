//! What tells model files apart without reading gigabytes.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Pieces of the file that are read, evenly spread from its beginning (the header, with names and
/// shapes) to its end. Fine-tuned models differ in all of their tensors.
const PIECES: u64 = 17;

/// Bytes of a piece.
const PIECE_BYTES: u64 = 64 << 10;

/// A hash of the file's length and of pieces of its content, in hexadecimal digits.
pub(crate) fn fingerprint(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut hash = Sha256::new_with_prefix(length.to_le_bytes());
    let last = length.saturating_sub(PIECE_BYTES);
    let mut piece = Vec::new();
    for index in 0..PIECES {
        file.seek(SeekFrom::Start(last / (PIECES - 1) * index))?;
        piece.clear();
        file.by_ref().take(PIECE_BYTES).read_to_end(&mut piece)?;
        hash.update(&piece);
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_differ_in_a_tensor_or_in_length_are_told_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).expect("written");
            fingerprint(&path).expect("read")
        };
        let content = vec![7; 3 << 20];
        let mut tuned = content.clone();
        tuned[2 << 20..].fill(8);
        let known = write("a", &content);
        assert_eq!(known, write("b", &content));
        assert_ne!(known, write("c", &tuned));
        assert_ne!(known, write("d", &content[1..]));
        assert_ne!(write("e", b""), write("f", b"x"));
    }
}
