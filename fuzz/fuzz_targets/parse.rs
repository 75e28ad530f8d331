//! The shape of a token and published data, from any bytes.

#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal_envelope::{Data, Limits, Token};

fuzz_target!(|bytes: &[u8]| {
    match Token::parse(bytes, &Limits::default()) {
        Ok(Token::Signed(signed)) => assert!(!signed.was_sealed() && !signed.signer_kid().is_empty()),
        Ok(Token::Sealed(sealed)) => assert!(!sealed.recipient_kid().is_empty()),
        Err(error) => assert!(error.code().starts_with("open.")),
    }
    if let Ok(Data::Json(text)) = Data::json(bytes) {
        waxseal_keys::strict_json::from_slice(text.get().as_bytes(), 64).expect("what is published can be parsed");
    }
});
