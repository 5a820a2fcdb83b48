//! The digests by which a page's policy allows its own style and script, and nothing else.

use sha2::{Digest, Sha256};

/// The SHA-256 in base64, as a policy names what it allows.
pub(crate) fn digest(text: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digest = Sha256::digest(text.as_bytes());
    let mut out = String::new();
    for chunk in digest.chunks(3) {
        let bytes = [0, 1, 2].map(|at| u32::from(chunk.get(at).copied().unwrap_or(0)));
        let word = bytes[0] << 16 | bytes[1] << 8 | bytes[2];
        for place in 0..4 {
            let six = (word >> (18 - 6 * place)) & 63;
            let missing = place > chunk.len();
            out.push(if missing {
                '='
            } else {
                char::from(ALPHABET[six as usize])
            });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_base64_of_the_sha_256() {
        // `printf abc | openssl dgst -sha256 -binary | base64`
        assert_eq!(
            digest("abc"),
            "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="
        );
    }
}
