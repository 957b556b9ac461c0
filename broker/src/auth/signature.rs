//! Proof of a key: the connection's nonce, signed.

use data_encoding::{BASE64, BASE64_NOPAD, BASE64URL, BASE64URL_NOPAD};

/// Whether `signature` is that of the nonce by the owner of `key`. Without a nonce there is nothing to prove.
pub(super) fn check(key: &str, nonce: &str, signature: Option<&str>) -> bool {
    let Some(signature) = signature.filter(|text| !nonce.is_empty() && text.len() <= 128).and_then(decode) else {
        return false;
    };
    natsune_credentials::verify(key, nonce.as_bytes(), &signature).is_ok()
}

/// Clients write URL-safe base64 without padding; some write the other forms, which servers take too.
fn decode(text: &str) -> Option<Vec<u8>> {
    [BASE64URL_NOPAD, BASE64_NOPAD, BASE64URL, BASE64].iter().find_map(|encoding| encoding.decode(text.as_bytes()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use natsune_credentials::KeyPair;

    #[test]
    fn only_the_owner_of_the_key_signs_this_nonce() {
        let key = KeyPair::new_user();
        let public = key.public_key();
        let raw = key.sign(b"nonce").unwrap();
        for encoding in [BASE64URL_NOPAD, BASE64_NOPAD, BASE64URL, BASE64] {
            assert!(check(&public, "nonce", Some(&encoding.encode(&raw))));
        }
        let text = BASE64URL_NOPAD.encode(&raw);
        assert!(!check(&public, "other", Some(&text)));
        assert!(!check(&KeyPair::new_user().public_key(), "nonce", Some(&text)));
        assert!(!check(&public, "nonce", None));
        assert!(!check(&public, "nonce", Some("")));
        assert!(!check(&public, "nonce", Some(&text[1..])));
        let empty = BASE64URL_NOPAD.encode(&key.sign(b"").unwrap());
        assert!(!check(&public, "", Some(&empty)), "no nonce, no proof");
    }
}
