//! What scenarios need and no server makes: certificates (fresh each run) and an operator with its accounts (kept vectors).
use super::values::Variables;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use std::path::{Path, PathBuf};

/// Files and variables that every scenario may use.
pub struct Fixtures {
    /// Variables: certificates, keys, credentials.
    pub variables: Variables,
    _folder: tempfile::TempDir,
}

impl Fixtures {
    /// Makes the certificates and reads the vectors.
    pub fn make() -> Result<Fixtures, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut variables = Variables::new();
        let mut put = |name: &str, text: String| -> Result<(), String> {
            let path = folder.path().join(name);
            std::fs::write(&path, &text).map_err(|error| error.to_string())?;
            variables.insert(format!("{name}_file"), path.to_string_lossy().into());
            variables.insert(format!("{name}_pem"), text.into());
            Ok(())
        };
        let ca = authority("Natsune test authority")?;
        let other = authority("Another authority")?;
        put("ca", ca.pem())?;
        put("other_ca", other.pem())?;
        for (name, names) in [
            ("server", vec!["localhost", "127.0.0.1"]),
            ("elsewhere", vec!["elsewhere.test"]),
            ("client", vec!["client.test"]),
        ] {
            let key = KeyPair::generate().map_err(|error| error.to_string())?;
            let certificate = params(name, &names)?.signed_by(&key, &ca).map_err(|error| error.to_string())?;
            put(&format!("{name}_cert"), certificate.pem())?;
            put(&format!("{name}_key"), key.serialize_pem())?;
        }
        let vectors = crate::workspace::root().join("bindings/conformance/vectors/operator");
        for path in files(&vectors)? {
            let name = path.file_name().unwrap_or_default().to_string_lossy().replace(['.', '-'], "_");
            let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            // Credentials files keep every byte; tokens and keys are one word.
            let text = if name.ends_with("creds") { text } else { text.trim().to_owned() };
            variables.insert(name.clone(), text.into());
            variables.insert(format!("{name}_file"), path.to_string_lossy().into());
        }
        Ok(Fixtures { variables, _folder: folder })
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let list = std::fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    Ok(list.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect())
}

fn params(name: &str, names: &[&str]) -> Result<CertificateParams, String> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    for name in names {
        params.subject_alt_names.push(match name.parse() {
            Ok(address) => SanType::IpAddress(address),
            Err(_) => SanType::DnsName((*name).try_into().map_err(|error: rcgen::Error| error.to_string())?),
        });
    }
    Ok(params)
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>, String> {
    let mut params = params(name, &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    CertifiedIssuer::self_signed(params, key).map_err(|error| error.to_string())
}
