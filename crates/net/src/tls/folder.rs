//! The certificates in a directory, by the file names that ACME clients use.
//!
//! | file | is |
//! |---|---|
//! | `NAME.pem`, `NAME.crt` | a chain; its key as well, unless there is a `NAME.key` |
//! | `NAME.key` | the key of that chain |
//! | `NAME.ocsp` | a response to staple |
//! | `NAME/fullchain.pem`, `NAME/privkey.pem` | a chain and its key |
//!
//! `NAME.issuer.crt`, hidden files and everything else are left alone.

use std::fs;
use std::path::{Path, PathBuf};

use super::spec::Certificate;

/// The most files of a folder that are looked at.
const MAX_ENTRIES: usize = 20_000;

/// The certificates of a folder, in the order of their names. Their files may still be unfit.
pub(crate) fn certificates(folder: &str) -> Result<Vec<Certificate>, String> {
    let refused = |error: std::io::Error| format!("cannot read the folder `{folder}`: {error}");
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(refused)? {
        if paths.len() == MAX_ENTRIES {
            return Err(format!(
                "the folder `{folder}` holds more than {MAX_ENTRIES} files"
            ));
        }
        paths.push(entry.map_err(refused)?.path());
    }
    paths.sort();
    Ok(paths.iter().filter_map(|path| certificate(path)).collect())
}

fn certificate(path: &Path) -> Option<Certificate> {
    let name = path.file_name()?.to_str()?;
    if name.starts_with('.') || name.ends_with(".issuer.crt") {
        return None;
    }
    let file = |path: PathBuf| {
        Some(path)
            .filter(|path| path.is_file())?
            .to_str()
            .map(str::to_owned)
    };
    if let Some(chain) = file(path.join("fullchain.pem")) {
        let key = file(path.join("privkey.pem"))?;
        let ocsp = file(path.join("ocsp.der"));
        return Some(Certificate {
            chain,
            key,
            names: Vec::new(),
            ocsp,
        });
    }
    if !matches!(path.extension()?.to_str()?, "pem" | "crt") {
        return None;
    }
    let chain = file(path.to_owned())?;
    Some(Certificate {
        key: file(path.with_extension("key")).unwrap_or_else(|| chain.clone()),
        ocsp: file(path.with_extension("ocsp")),
        chain,
        names: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_paired_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        fs::create_dir(at("d.test")).unwrap();
        fs::create_dir(at("empty")).unwrap();
        for name in [
            "a.pem",
            "b.crt",
            "b.issuer.crt",
            "b.key",
            "b.ocsp",
            ".c.pem",
            "README",
            "d.test/fullchain.pem",
            "d.test/privkey.pem",
        ] {
            fs::write(at(name), "").unwrap();
        }
        let found = certificates(folder.path().to_str().unwrap()).unwrap();
        let told: Vec<_> = found
            .iter()
            .map(|one| (one.chain.clone(), one.key.clone(), one.ocsp.clone()))
            .collect();
        assert_eq!(
            told,
            [
                (at("a.pem"), at("a.pem"), None),
                (at("b.crt"), at("b.key"), Some(at("b.ocsp"))),
                (at("d.test/fullchain.pem"), at("d.test/privkey.pem"), None),
            ]
        );
        assert!(certificates(&at("nowhere"))
            .unwrap_err()
            .contains("cannot read the folder"));
    }
}
