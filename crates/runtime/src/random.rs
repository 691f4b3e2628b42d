//! Seeds and identifiers from the operating system's random source.

/// Letters and digits, as in OpenAI's identifiers.
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Characters of an identifier after its prefix; 24 of 62 give 142 bits.
const ID_LENGTH: usize = 24;

/// A seed for a request that names none.
pub(crate) fn seed() -> u64 {
    getrandom::u64().expect("the operating system has a random source")
}

/// A fresh identifier: `prefix` and 24 letters and digits.
pub(crate) fn id(prefix: &str) -> String {
    let mut bytes = [0; ID_LENGTH];
    getrandom::fill(&mut bytes).expect("the operating system has a random source");
    // The bias of the remainder (256 is no multiple of 62) is of no account for identifiers.
    let letters = bytes
        .iter()
        .map(|byte| ALPHABET[*byte as usize % ALPHABET.len()] as char);
    prefix.chars().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_their_shape_and_differ() {
        let ids: std::collections::HashSet<String> = (0..100).map(|_| id("call_")).collect();
        assert_eq!(ids.len(), 100);
        for id in ids {
            let letters = id.strip_prefix("call_").expect("the prefix");
            assert_eq!(letters.len(), ID_LENGTH);
            assert!(letters.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
    }
}
