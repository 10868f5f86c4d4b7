//! Alerts of TLS (RFC 8446, 6.2): which of them refuse our credentials, their names in words, and what to do.

use rustls::AlertDescription;

/// Whether an alert is a verdict on our certificate. Servers of TLS 1.2 answer a missing one with `handshake_failure`.
pub(super) fn blames_credentials(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::HandshakeFailure
            | AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied
            | AlertDescription::DecryptError
            | AlertDescription::CertificateRequired
    )
}

/// An alert's name in words: `certificate expired`.
pub(super) fn words(alert: AlertDescription) -> String {
    match alert {
        AlertDescription::UnknownCA => "unknown certificate authority".to_owned(),
        AlertDescription::Unknown(code) => format!("number {code}"),
        alert => {
            let mut words = String::new();
            for letter in format!("{alert:?}").chars() {
                if letter.is_ascii_uppercase() && !words.is_empty() {
                    words.push(' ');
                }
                words.push(letter.to_ascii_lowercase());
            }
            words
        }
    }
}

/// What to do about an alert that refuses credentials, by its name as [`super::CloseCause::Refused`] holds it.
pub fn advice(alert: &str) -> &'static str {
    match alert {
        "certificate expired" => "renew it in Apple's developer account",
        "certificate revoked" => "it was revoked in Apple's developer account: make a new one there",
        "unknown certificate authority" => {
            "it was signed by an authority that the gateway does not know: take the certificate that was made for it"
        }
        "certificate required" | "no certificate" | "handshake failure" => {
            "the gateway wants another certificate, or none of this kind: take the one that was made for it"
        }
        "decrypt error" => "the gateway could not verify its signature: export certificate and key again",
        _ => "take the push certificate that was made for this gateway, or make a new one",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_read_as_words() {
        assert_eq!(words(AlertDescription::CertificateExpired), "certificate expired");
        assert_eq!(words(AlertDescription::BadCertificate), "bad certificate");
        assert_eq!(words(AlertDescription::UnknownCA), "unknown certificate authority");
        assert_eq!(words(AlertDescription::Unknown(200)), "number 200");
    }

    #[test]
    fn what_has_a_cure_of_its_own_is_known_by_its_name() {
        let any = advice("bad certificate");
        for alert in [
            AlertDescription::CertificateExpired,
            AlertDescription::CertificateRevoked,
            AlertDescription::UnknownCA,
            AlertDescription::CertificateRequired,
            AlertDescription::NoCertificate,
            AlertDescription::HandshakeFailure,
            AlertDescription::DecryptError,
        ] {
            assert!(blames_credentials(alert));
            assert_ne!(advice(&words(alert)), any, "{alert:?}");
        }
    }
}
