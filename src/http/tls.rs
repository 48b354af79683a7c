//! TLS from files: a certificate and its key, taken up anew when the files change; what does not fit leaves the last pair in force.
//!
//! Knows nothing of connections and requests.

mod validity;

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use metrics::gauge;
use rustls::{
    InconsistentKeys, ServerConfig,
    crypto::ring,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};
use tokio_rustls::TlsAcceptor;

use crate::{
    config::{TlsFiles, open_regular},
    registry::rfc3339,
    telemetry::{News, Trouble},
};

/// How often the files are looked at.
const WATCH: Duration = Duration::from_secs(1);

/// Larger files are not read: chains have a few kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// What the two forms of encrypted keys in PEM have in their headers.
const ENCRYPTED: &[u8] = b"ENCRYPTED";

/// The pair in force; cheap to clone.
#[derive(Debug, Clone)]
pub struct Tls {
    files: Arc<TlsFiles>,
    /// Held for the copy of a pointer, never across a read of the files.
    current: Arc<RwLock<Pair>>,
}

/// Why the files cannot be used; the message names the setting.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read `{}` (`server.{setting}`)", .path.display())]
    Read {
        /// The key below `server`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file is not PEM, or holds nothing of what it is to hold.
    #[error("`{}` (`server.{setting}`) holds no {wanted} in PEM", .path.display())]
    Pem {
        /// The key below `server`.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What it is to hold.
        wanted: &'static str,
        /// Where it fails.
        #[source]
        source: pem::Error,
    },
    /// Certificate and key are of two pairs.
    #[error("the key `{}` (`server.tls_key`) is not that of the certificate `{}` (`server.tls_certificate`)", .0.key.display(), .0.certificate.display())]
    Mismatch(TlsFiles),
    /// A pair that TLS cannot use.
    #[error("certificate and key cannot be used (`server.tls_certificate`, `server.tls_key`)")]
    Unusable(#[from] rustls::Error),
}

/// A pair as it was read, and what the files looked like then.
#[derive(Debug)]
struct Pair {
    config: Arc<ServerConfig>,
    /// Until when the certificate is valid, where that can be told.
    end: Option<SystemTime>,
    /// `None` when what was read last could not be used: it is read again at the next look, whatever the files look like.
    seen: Option<[Fingerprint; 2]>,
    trouble: Trouble,
}

/// What changes whenever a file is written or replaced: device, inode, size, and the times of contents and inode.
type Fingerprint = (u64, u64, u64, (i64, i64), (i64, i64));

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// When they cannot be read, are not PEM, or do not belong together.
    pub fn open(files: TlsFiles) -> Result<Self, TlsError> {
        // Before they are read: a change in between is found at the next look.
        let seen = fingerprints(&files);
        let (config, end) = read(&files)?;
        let pair = Pair { config, end, seen, trouble: Trouble::default() };
        Ok(Self { files: Arc::new(files), current: Arc::new(RwLock::new(pair)) })
    }

    /// Takes up the files whenever they have changed, for as long as it is polled; a pair that cannot be used is logged once, and so
    /// is a certificate whose time is over.
    pub async fn watch(self) {
        let mut ticks = tokio::time::interval(WATCH);
        let mut over = Trouble::default();
        loop {
            ticks.tick().await;
            let tls = self.clone();
            // Files may be on a disk that is slow to answer.
            let _ = tokio::task::spawn_blocking(move || tls.reload()).await;
            let end = self.end();
            let seconds = end.map_or(f64::NAN, |end| end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
            gauge!("graft_tls_certificate_end_timestamp_seconds").set(seconds);
            if let Some(News::Wrong(why)) = over.news(end.and_then(ended)) {
                tracing::warn!(certificate = %self.files.certificate.display(), "{why}; clients refuse it");
            }
        }
    }

    /// Until when the certificate in force is valid, where that can be told.
    pub fn end(&self) -> Option<SystemTime> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).end
    }

    fn reload(&self) {
        let seen = fingerprints(&self.files);
        if seen.is_some() && self.current.read().unwrap_or_else(PoisonError::into_inner).seen == seen {
            return;
        }
        let read = read(&self.files);
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        current.seen = seen.filter(|_| read.is_ok());
        if let Some(News::Wrong(error)) = current.trouble.of(&read) {
            tracing::warn!(error, "cannot take up the changed certificate or key; the last pair stays in force");
        }
        if let Ok((config, end)) = read {
            (current.config, current.end) = (config, end);
            let until = end.map(rfc3339);
            tracing::info!(certificate = %self.files.certificate.display(), until, "took up a new certificate");
        }
    }

    /// What makes handshakes with the pair in force; their arithmetic is for no async thread.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config))
    }
}

/// That a certificate that is valid until `end` is so no more.
pub fn ended(end: SystemTime) -> Option<String> {
    (end < SystemTime::now()).then(|| format!("the certificate's time was over at {}", rfc3339(end)))
}

fn read(files: &TlsFiles) -> Result<(Arc<ServerConfig>, Option<SystemTime>), TlsError> {
    let bytes = |setting, path: &Path| contents(path).map_err(|source| TlsError::Read { setting, path: path.to_owned(), source });
    let pem = |setting, path: &Path, wanted, source| TlsError::Pem { setting, path: path.to_owned(), wanted, source };
    let not_certificate = |source| pem("tls_certificate", &files.certificate, "certificate", source);
    let text = bytes("tls_certificate", &files.certificate)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(not_certificate)?;
    if chain.is_empty() {
        return Err(not_certificate(pem::Error::NoItemsFound));
    }
    let end = chain.first().and_then(validity::end);
    let text = bytes("tls_key", &files.key)?;
    let key = PrivateKeyDer::from_pem_slice(&text);
    let encrypted = text.windows(ENCRYPTED.len()).any(|window| window == ENCRYPTED);
    let wanted = if encrypted { "private key that is not encrypted" } else { "private key" };
    let key = key.map_err(|source| pem("tls_key", &files.key, wanted, source))?;
    let builder =
        ServerConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions()?;
    let config = builder.with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|error| match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsError::Mismatch(files.clone()),
        other => TlsError::Unusable(other),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((Arc::new(config), end))
}

fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// `None` while one of them is missing, which is a change too.
fn fingerprints(files: &TlsFiles) -> Option<[Fingerprint; 2]> {
    let of = |path: &Path| {
        let found = fs::metadata(path).ok()?;
        let (contents, inode) = ((found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec()));
        Some((found.dev(), found.ino(), found.len(), contents, inode))
    };
    Some([of(&files.certificate)?, of(&files.key)?])
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey, KeyPair};
    use tempfile::TempDir;

    use super::*;
    use crate::telemetry::chain;

    fn pair() -> CertifiedKey<KeyPair> {
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a pair can be made")
    }

    /// A folder with both files.
    fn files(certificate: &str, key: &str) -> (TempDir, TlsFiles) {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let files = TlsFiles { certificate: folder.path().join("tls.crt"), key: folder.path().join("tls.key") };
        fs::write(&files.certificate, certificate).expect("it can be written to");
        fs::write(&files.key, key).expect("it can be written to");
        (folder, files)
    }

    #[test]
    fn what_cannot_be_used_names_the_setting() {
        let (one, other) = (pair(), pair());
        let check = |certificate: &str, key: &str, expected: &[&str]| {
            let (folder, files) = files(certificate, key);
            let error = Tls::open(files).expect_err("it cannot be used");
            let text = chain(&error).replace(folder.path().to_str().expect("the path is UTF-8"), "DIR");
            assert!(expected.iter().all(|part| text.contains(part)), "{text}");
        };
        let (certificate, key) = (one.cert.pem(), one.signing_key.serialize_pem());
        check("", &key, &["`DIR/tls.crt` (`server.tls_certificate`) holds no certificate in PEM"]);
        check(&key, &certificate, &["`DIR/tls.crt` (`server.tls_certificate`) holds no certificate"]);
        check(&certificate, "", &["`DIR/tls.key` (`server.tls_key`) holds no private key in PEM"]);
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        check(&certificate, &encrypted, &["`DIR/tls.key` (`server.tls_key`) holds no private key that is not encrypted"]);
        check(&certificate, &key[..60], &["`server.tls_key`"]);
        check(
            &certificate,
            &other.signing_key.serialize_pem(),
            &["`server.tls_key`", "is not that of the certificate `DIR/tls.crt`"],
        );
        let nonsense = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        check(nonsense, &key, &["cannot be used (`server.tls_certificate`, `server.tls_key`)"]);
        let (_folder, files) = files(&certificate, &key);
        fs::remove_file(&files.key).expect("it is there");
        let error = Tls::open(files).expect_err("it is gone").to_string();
        assert!(error.starts_with("cannot read `") && error.ends_with("tls.key` (`server.tls_key`)"), "{error}");
    }

    #[test]
    fn what_could_not_be_used_is_read_again_even_if_it_looks_the_same() {
        let pair = pair();
        let (_folder, files) = files(&pair.cert.pem(), &pair.signing_key.serialize_pem());
        let tls = Tls::open(files.clone()).expect("they belong together");
        let whole = fs::read(&files.key).expect("it is there");
        let written = fs::metadata(&files.key).and_then(|file| file.modified()).expect("it has a time");
        // As if the files had been read half written, and looked no different afterwards.
        let half = vec![b'x'; whole.len()];
        fs::write(&files.key, half).expect("it can be written to");
        tls.reload();
        let seen = || tls.current.read().expect("nobody panicked").seen;
        assert_eq!(seen(), None, "what was seen is not taken for what was read");
        fs::write(&files.key, whole).expect("it can be written to");
        fs::File::options().write(true).open(&files.key).and_then(|file| file.set_modified(written)).expect("it is there");
        tls.reload();
        assert_eq!(seen(), fingerprints(&files));
    }

    #[test]
    fn a_pipe_is_not_waited_for() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let pair = pair();
        let (_folder, files) = files(&pair.cert.pem(), &pair.signing_key.serialize_pem());
        let tls = Tls::open(files.clone()).expect("they belong together");
        fs::remove_file(&files.key).expect("it is there");
        mknodat(CWD, &files.key, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).expect("a pipe");
        tls.reload();
        let error = chain(&Tls::open(files).expect_err("it is no file"));
        assert!(error.contains("tls.key` (`server.tls_key`)") && error.contains("it is a pipe"), "{error}");
    }

    #[test]
    fn a_broken_pair_leaves_the_last_in_force() {
        let (one, other) = (pair(), pair());
        let (_folder, files) = files(&one.cert.pem(), &one.signing_key.serialize_pem());
        let tls = Tls::open(files.clone()).expect("they belong together");
        let config = || Arc::clone(&tls.current.read().expect("nobody panicked").config);
        let first = config();
        tls.reload();
        assert!(Arc::ptr_eq(&first, &config()), "nothing has changed");
        fs::write(&files.certificate, other.cert.pem()).expect("it can be written to");
        tls.reload();
        assert!(Arc::ptr_eq(&first, &config()), "the new certificate has another key");
        fs::remove_file(&files.key).expect("it is there");
        tls.reload();
        assert!(Arc::ptr_eq(&first, &config()), "there is no key");
        fs::write(&files.key, other.signing_key.serialize_pem()).expect("it can be written to");
        tls.reload();
        assert!(!Arc::ptr_eq(&first, &config()), "the new pair is whole");
    }
}
