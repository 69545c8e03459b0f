//! Certificates that hooks give as PEM, read once and not for each handshake.
//!
//! # How it works
//! What was used lately lies in `young`; when that is full it becomes `old`, and what was in `old` and not asked for since
//! is forgotten. So at most twice [`GENERATION`] are kept, and the ones in use among them.

use std::cell::RefCell;
use std::collections::HashMap;

use aws_lc_rs::digest::{Context, SHA256};

use super::certificate::OwnCertificate;

const GENERATION: usize = 256;

type Digest = [u8; 32];

/// See the module.
#[derive(Default)]
pub struct PreparedCertificates {
    generations: RefCell<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Digest, OwnCertificate>,
    old: HashMap<Digest, OwnCertificate>,
}

impl PreparedCertificates {
    /// The certificate of a chain and its key, as [`OwnCertificate::from_pem`] makes it.
    ///
    /// # Errors
    /// One sentence on what is wrong with which of them.
    pub fn get(&self, chain: &[u8], key: &[u8]) -> Result<OwnCertificate, String> {
        let digest = digest(chain, key);
        let mut generations = self.generations.borrow_mut();
        if let Some(known) = generations.young.get(&digest) {
            return Ok(known.clone());
        }
        let certificate = match generations.old.remove(&digest) {
            Some(known) => known,
            None => OwnCertificate::from_pem(chain, key, None)?,
        };
        if generations.young.len() >= GENERATION {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(digest, certificate.clone());
        Ok(certificate)
    }
}

fn digest(chain: &[u8], key: &[u8]) -> Digest {
    let mut context = Context::new(&SHA256);
    // the length first: where one text ends and the other begins is part of what they say
    context.update(&(chain.len() as u64).to_le_bytes());
    context.update(chain);
    context.update(key);
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pair(name: String) -> (String, String) {
        let made = rcgen::generate_simple_self_signed([name]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    #[test]
    fn what_is_in_use_is_kept_and_the_rest_is_forgotten() {
        let prepared = PreparedCertificates::default();
        let (chain, key) = pair("kept.test".to_owned());
        let first = prepared.get(chain.as_bytes(), key.as_bytes()).unwrap();
        let (other, other_key) = pair("other.test".to_owned());
        for n in 0..3 * GENERATION {
            // a comment before the first line of PEM makes another text of the same certificate
            let text = format!("{n}\n{other}");
            prepared.get(text.as_bytes(), other_key.as_bytes()).unwrap();
            if n % 100 == 0 {
                let again = prepared.get(chain.as_bytes(), key.as_bytes()).unwrap();
                assert!(Arc::ptr_eq(&again.key, &first.key));
            }
        }
        let generations = prepared.generations.borrow();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION);
    }

    #[test]
    fn what_is_wrong_is_said_each_time() {
        let prepared = PreparedCertificates::default();
        let (chain, _) = pair("a.test".to_owned());
        let (_, key) = pair("b.test".to_owned());
        for _ in 0..2 {
            let error = prepared.get(chain.as_bytes(), key.as_bytes()).unwrap_err();
            assert_eq!(error, "the key is not the certificate's");
        }
        assert!(prepared
            .get(b"nothing", b"")
            .unwrap_err()
            .starts_with("the chain holds no certificate"));
    }
}
