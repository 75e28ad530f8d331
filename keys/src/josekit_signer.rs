//! [`SigningKey`] as a josekit [`JwsSigner`], so that a token can be framed by whoever speaks that
//! interface. Feature `josekit`.

use josekit::JoseError;
use josekit::jws::{JwsAlgorithm, JwsSigner};

use crate::alg::SignatureAlgorithm;
use crate::signing::SigningKey;

impl JwsAlgorithm for SignatureAlgorithm {
    fn name(&self) -> &str {
        (*self).name()
    }

    fn box_clone(&self) -> Box<dyn JwsAlgorithm> {
        Box::new(*self)
    }
}

impl JwsSigner for SigningKey {
    fn algorithm(&self) -> &dyn JwsAlgorithm {
        self.alg_ref()
    }

    fn key_id(&self) -> Option<&str> {
        Some(self.kid())
    }

    fn signature_len(&self) -> usize {
        self.signature_len()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, JoseError> {
        self.sign(message).map_err(|error| JoseError::InvalidSignature(error.into()))
    }

    fn box_clone(&self) -> Box<dyn JwsSigner> {
        Box::new(self.clone())
    }
}
