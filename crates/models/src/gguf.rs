//! Enough of the GGUF format to recognise a file that llama.cpp could only fail on.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Only the header is read;
//! the sizes of tensor types are llama.cpp's business, so a file cut inside its very last tensor
//! passes here and is refused when it is loaded.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::ModelsError;

/// Refuses `path` unless it is a GGUF file whose header is whole and whose tensors begin inside it.
pub(crate) fn check(path: &Path) -> Result<(), ModelsError> {
    let file = File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => ModelsError::MissingFile {
            path: path.to_owned(),
        },
        _ => ModelsError::io("open", path)(error),
    })?;
    let metadata = file.metadata().map_err(ModelsError::io("read", path))?;
    let not_gguf = |detail: String| ModelsError::NotGguf {
        path: path.to_owned(),
        detail,
    };
    if metadata.is_dir() {
        return Err(not_gguf("it is a directory".to_owned()));
    }
    let mut header = Header {
        reader: BufReader::new(file),
        at: 0,
        len: metadata.len(),
    };
    match header.bytes::<4>() {
        Ok(magic) if &magic == b"GGUF" => {}
        Ok(other) => {
            let shown = other.escape_ascii();
            return Err(not_gguf(format!(
                "it begins with \"{shown}\" instead of \"GGUF\""
            )));
        }
        Err(_) => return Err(not_gguf(format!("it has only {} bytes", metadata.len()))),
    }
    header
        .check_body()
        .map_err(|detail| ModelsError::CorruptGguf {
            path: path.to_owned(),
            detail,
        })
}

/// A reader of little-endian fields that knows where the file ends.
struct Header {
    reader: BufReader<File>,
    at: u64,
    len: u64,
}

/// What is wrong with the file.
type Complaint = String;

impl Header {
    fn check_body(&mut self) -> Result<(), Complaint> {
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(format!("version {version} of the format is not supported"));
        }
        let tensors = self.u64()?;
        let pairs = self.u64()?;
        for _ in 0..pairs {
            self.skip_string()?;
            let kind = self.u32()?;
            self.skip_value(kind)?;
        }
        let mut furthest = 0;
        for _ in 0..tensors {
            furthest = furthest.max(self.tensor_offset()?);
        }
        let needed = self.at.saturating_add(furthest);
        if tensors > 0 && needed >= self.len {
            return Err(format!(
                "it has {} bytes but its tensors reach beyond byte {needed}",
                self.len
            ));
        }
        Ok(())
    }

    /// Reads one tensor's description and returns its offset in the data section, in bytes.
    fn tensor_offset(&mut self) -> Result<u64, Complaint> {
        self.skip_string()?;
        let dimensions = self.u32()?;
        self.skip(u64::from(dimensions) * 8)?;
        let _type = self.u32()?;
        self.u64()
    }

    fn skip_value(&mut self, kind: u32) -> Result<(), Complaint> {
        const STRING: u32 = 8;
        const ARRAY: u32 = 9;
        match kind {
            STRING => self.skip_string(),
            ARRAY => {
                let element = self.u32()?;
                let count = self.u64()?;
                match scalar_bytes(element) {
                    Some(size) => self.skip(count.saturating_mul(size)),
                    None if element == STRING => (0..count).try_for_each(|_| self.skip_string()),
                    None => Err(format!("arrays of type {element} do not exist")),
                }
            }
            _ => match scalar_bytes(kind) {
                Some(size) => self.skip(size),
                None => Err(format!("values of type {kind} do not exist")),
            },
        }
    }

    fn skip_string(&mut self) -> Result<(), Complaint> {
        let bytes = self.u64()?;
        self.skip(bytes)
    }

    fn skip(&mut self, bytes: u64) -> Result<(), Complaint> {
        self.advance(bytes)?;
        // `advance` bounds `bytes` by the file's length, which fits.
        self.reader
            .seek_relative(bytes as i64)
            .map_err(|error| error.to_string())
    }

    fn u32(&mut self) -> Result<u32, Complaint> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Complaint> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], Complaint> {
        self.advance(N as u64)?;
        let mut bytes = [0; N];
        self.reader
            .read_exact(&mut bytes)
            .map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn advance(&mut self, bytes: u64) -> Result<(), Complaint> {
        let end = self.at.checked_add(bytes).filter(|end| *end <= self.len);
        self.at =
            end.ok_or_else(|| format!("its header goes on beyond its end at byte {}", self.len))?;
        Ok(())
    }
}

/// Size of the format's scalar types, in bytes.
fn scalar_bytes(kind: u32) -> Option<u64> {
    match kind {
        0 | 1 | 7 => Some(1),
        2 | 3 => Some(2),
        4..=6 => Some(4),
        10..=12 => Some(8),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A small sound file: one string, one array of strings, one array of numbers, two tensors.
    fn sample() -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        let string = |out: &mut Vec<u8>, text: &str| {
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(text.as_bytes());
        };
        out.extend(3u32.to_le_bytes());
        out.extend(2u64.to_le_bytes());
        out.extend(3u64.to_le_bytes());
        string(&mut out, "general.name");
        out.extend(8u32.to_le_bytes());
        string(&mut out, "sample");
        string(&mut out, "tokens");
        out.extend(9u32.to_le_bytes());
        out.extend(8u32.to_le_bytes());
        out.extend(2u64.to_le_bytes());
        string(&mut out, "a");
        string(&mut out, "b");
        string(&mut out, "scores");
        out.extend(9u32.to_le_bytes());
        out.extend(6u32.to_le_bytes());
        out.extend(2u64.to_le_bytes());
        out.extend([0; 8]);
        for (name, offset) in [("first", 0u64), ("second", 32)] {
            string(&mut out, name);
            out.extend(1u32.to_le_bytes());
            out.extend(8u64.to_le_bytes());
            out.extend(0u32.to_le_bytes());
            out.extend(offset.to_le_bytes());
        }
        out.extend([0; 64]);
        out
    }

    fn checked(bytes: &[u8]) -> Result<(), ModelsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        std::fs::write(&path, bytes).unwrap();
        check(&path)
    }

    #[test]
    fn a_sound_file_passes_and_every_cut_before_its_last_tensor_is_refused() {
        let whole = sample();
        checked(&whole).unwrap();
        for cut in 0..=whole.len() - 32 {
            let error = checked(&whole[..cut]).unwrap_err();
            match cut {
                0..4 => assert!(
                    matches!(error, ModelsError::NotGguf { .. }),
                    "{cut}: {error}"
                ),
                _ => assert!(
                    matches!(error, ModelsError::CorruptGguf { .. }),
                    "{cut}: {error}"
                ),
            }
        }
    }

    #[test]
    fn no_flipped_byte_of_the_header_makes_it_panic_or_hang() {
        let whole = sample();
        for at in 0..whole.len() - 64 {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= flip;
                let outcome = checked(&damaged);
                assert!(at >= 4 || outcome.is_err(), "a wrong magic at {at} passed");
            }
        }
    }

    #[test]
    fn other_files_are_named_for_what_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let text = check(dir.path()).unwrap_err().to_string();
        assert!(text.contains("it is a directory"), "{text}");
        let text = checked(b"<!DOCTYPE html>").unwrap_err().to_string();
        assert!(text.contains("begins with \"<!DO\""), "{text}");
        let text = check(&dir.path().join("none.gguf"))
            .unwrap_err()
            .to_string();
        assert!(text.contains("no such model file"), "{text}");
        let mut old = sample();
        old[4] = 1;
        let text = checked(&old).unwrap_err().to_string();
        assert!(text.contains("version 1"), "{text}");
    }
}
