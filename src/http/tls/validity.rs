//! Until when a certificate is valid, as whoever is shown it finds out.
//!
//! Knows neither files nor keys.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::{
    CertificateError, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier as _},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};

/// After the end of any certificate, in seconds since 1970: the year 9999 is the last that one can name.
const FOR_EVER: u64 = 253_402_300_800;

/// When the validity of `certificate` ends; `None` for one that names no time that can be read, or none at which it would.
///
/// It is verified at the end of all times, with itself as the only root: that it is not valid any more is found out first.
pub fn end(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone().into_owned()).ok()?;
    let verifier =
        WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::new(ring::default_provider())).build().ok()?;
    let anyone = ServerName::try_from("localhost").ok()?;
    let never = UnixTime::since_unix_epoch(Duration::from_secs(FOR_EVER));
    match verifier.verify_server_cert(certificate, &[], &anyone, &[], never) {
        Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
            UNIX_EPOCH.checked_add(Duration::from_secs(not_after.as_secs()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn the_end_is_the_certificates_own() {
        let check = |year, expected_days: u64| {
            let mut params = CertificateParams::new(["graft.example".to_owned()]).expect("a name");
            (params.not_before, params.not_after) = (date_time_ymd(2000, 1, 1), date_time_ymd(year, 3, 1));
            let certificate = params.self_signed(&KeyPair::generate().expect("a key")).expect("it can be signed");
            let expected = UNIX_EPOCH + Duration::from_secs(expected_days * 24 * 3600);
            assert_eq!(end(certificate.der()), Some(expected), "{year}");
        };
        check(2001, 11_382);
        check(2100, 47_541);
        assert_eq!(end(&CertificateDer::from(b"junk".as_slice())), None);
    }
}
