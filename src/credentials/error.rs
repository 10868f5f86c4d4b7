//! Why credentials are refused, in words that name the cure. Never quotes what was given.

use thiserror::Error;

use crate::domain::time::Timestamp;

/// What to do with a `.p12` that only OpenSSL can read. Old encryption needs its legacy provider.
const CONVERT_P12: &str =
    "convert it with `openssl pkcs12 -in FILE.p12 -nodes -out FILE.pem` (OpenSSL 3: with -legacy)";

/// Why credentials cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CredentialsError {
    /// Nothing was given, or an empty file.
    #[error(
        "the credentials are empty: pass the PEM text of certificate and key, or the absolute path of such a \
         file"
    )]
    Empty,
    /// Neither content nor an absolute path.
    #[error(
        "neither PEM text, nor base64 of a credentials file, nor an absolute path: pass the PEM text of certificate and \
         key, or a path from `/` on"
    )]
    NotAnArgument,
    /// A path outside the allowed directories, a missing file and an unreadable one, told alike so that nobody can
    /// explore the daemon's file system with it.
    #[error(
        "certificate path is not under certificate_dirs ({dirs}), or not readable: pass the PEM text or add the \
         directory"
    )]
    PathRefused {
        /// The allowed directories as they were configured.
        dirs: String,
    },
    /// A file that the operator named, which may say why.
    #[error("`{path}` cannot be read: {cause}")]
    Unreadable {
        /// The file.
        path: String,
        /// The operating system's word.
        cause: String,
    },
    /// More than a credentials file can reasonably have.
    #[error(
        "more than {0} bytes: certificate, chain and key in PEM take a few thousand; check that this is the right \
         file"
    )]
    TooLarge(u64),
    /// Content that is nothing known.
    #[error(
        "neither PEM nor PKCS#12: PEM text has blocks `-----BEGIN CERTIFICATE-----` and `-----BEGIN PRIVATE KEY-----`, and \
         a .p12 file is passed as it is or as base64"
    )]
    NotPem,
    /// A PEM block without its end, or whose body is not base64.
    #[error("the PEM block `{0}` is cut off or damaged: copy all of it, from `-----BEGIN` to `-----END … -----`")]
    BrokenBlock(String),
    /// A PKCS#12 file in BER, as old programs write it.
    #[error("the .p12 file is in BER, not DER, as old programs write it: {CONVERT_P12}")]
    P12Ber,
    /// A PKCS#12 file that is cut off or changed.
    #[error("the .p12 file is cut off or damaged: copy it again, in binary or as base64, or export it again")]
    P12Damaged,
    /// A PKCS#12 file with an encryption that is not supported (RC4, PBMAC1, …), or signed instead of encrypted.
    #[error("the .p12 file is encrypted in a way that is not supported: {CONVERT_P12}")]
    P12Algorithm,
    /// A PKCS#12 file with nothing of use in it.
    #[error("the .p12 file has neither certificate nor key in it: export the certificate again, with its key")]
    P12Empty,
    /// A PKCS#12 file with certificates and no key.
    #[error(
        "the .p12 file has a certificate and no private key: in Keychain Access, export the certificate from \
         My Certificates, on the machine that its request was made on"
    )]
    P12NoKey,
    /// A PKCS#12 file with a key and no certificate.
    #[error(
        "the .p12 file has a private key and no certificate: in Keychain Access, select the certificate and not only \
         the key below it, and export again"
    )]
    P12NoCertificate,
    /// Something encrypted, and no passphrase.
    #[error(
        "the private key is encrypted: pass the option `passphrase` (on the command line --passphrase-file, in [[app]] \
         passphrase_file)"
    )]
    PassphraseMissing,
    /// Another passphrase than that which it was encrypted with.
    #[error(
        "the passphrase is wrong: pass that which the file was exported with in the option `passphrase` (on the command \
         line --passphrase-file, in [[app]] passphrase_file)"
    )]
    PassphraseWrong,
    /// A passphrase that cannot be one.
    #[error("the option `passphrase` has more than {0} bytes: pass the passphrase itself")]
    PassphraseTooLong(usize),
    /// An encrypted PEM key with an encryption that is not supported.
    #[error(
        "the private key is encrypted in a way that is not supported: decrypt it with `openssl pkey -in FILE.pem -out \
         KEY.pem` and pass certificate and decrypted key"
    )]
    KeyAlgorithm,
    /// More work than deriving keys from a passphrase may be.
    #[error(
        "the file asks for more than {0} iterations to derive its keys, which is not done here: convert it with \
         `openssl pkcs12 -in FILE.p12 -nodes -out FILE.pem` (a PEM key: `openssl pkey -in FILE.pem -out KEY.pem`)"
    )]
    TooManyIterations(u32),
    /// More certificates or keys than belong to one app.
    #[error("more than {certificates} certificates or {keys} keys: pass the app's certificate, its chain and its key")]
    TooMany {
        /// Certificates that are allowed.
        certificates: usize,
        /// Keys that are allowed.
        keys: usize,
    },
    /// A certificate in DER (`.cer`), which holds no key.
    #[error(
        "a certificate alone, in DER (.cer): convert it with `openssl x509 -inform der -in FILE.cer` and append its \
         private key in PEM"
    )]
    DerCertificate,
    /// A Google service account.
    #[error(
        "JSON, such as a Google service account, which this version does not read: pass a push certificate in \
         PEM"
    )]
    Json,
    /// A `.p8` key without what must be said about it, or with an id that cannot be one.
    #[error(
        "a provider token key (.p8) needs {}, 10 letters and digits each, as Apple's developer account shows them \
         (key_id: Keys; team_id: Membership details)",
        ids(missing, bad)
    )]
    Ids {
        /// Those of `key_id` and `team_id` that were not given.
        missing: Vec<&'static str>,
        /// Those that were given and cannot be ids.
        bad: Vec<&'static str>,
    },
    /// A `.p8` key that cannot sign.
    #[error("the provider token key (.p8) is damaged, or not on the curve P-256: download it again, or make a new one")]
    BadProviderKey,
    /// A certificate signing request.
    #[error(
        "a certificate signing request: upload it to Apple's developer account and pass the certificate made from it"
    )]
    SigningRequest,
    /// No certificate beside the key.
    #[error("no certificate: append the push certificate in PEM to the key")]
    NoCertificate,
    /// No key beside the certificate.
    #[error("no private key: append the key that the certificate was made for, in PEM")]
    NoKey,
    /// A key that TLS cannot sign with.
    #[error(
        "a private key of a kind that TLS cannot use: RSA of 2048 to 8192 bits, ECDSA (P-256, P-384, P-521) and \
         Ed25519 work"
    )]
    UnusableKey,
    /// A certificate that does not parse.
    #[error("a certificate does not parse as X.509: export it again")]
    BadCertificate,
    /// No certificate belongs to the key.
    #[error("the private key does not belong to the certificate `{subject}`: pass the key that it was made for")]
    KeyMismatch {
        /// Common name of the first certificate.
        subject: String,
    },
    /// A `.p8` key together with a certificate that it has nothing to do with.
    #[error(
        "a provider token key (.p8) beside the certificate `{subject}`, which it does not belong to: pass the one or the \
         other"
    )]
    KeyBesideCertificate {
        /// Common name of the first certificate.
        subject: String,
    },
    /// Valid only later.
    #[error("certificate `{subject}` is not valid before {from}: check the clock of this machine")]
    NotYetValid {
        /// Common name.
        subject: String,
        /// Start of its validity.
        from: Timestamp,
    },
    /// Not valid any more.
    #[error(
        "certificate `{subject}` expired on {until}: renew it in Apple's developer account (Certificates, \
         Identifiers & Profiles) and provision again"
    )]
    Expired {
        /// Common name.
        subject: String,
        /// End of its validity.
        until: Timestamp,
    },
    /// A `.p8` key for a binary gateway.
    #[error(
        "a provider token key (.p8) works over HTTP/2 alone, and environment `{environment}` is a binary gateway: pass a \
         push certificate and its key"
    )]
    NeedsCertificate {
        /// The environment's name in the config.
        environment: String,
    },
    /// A `.p8` key, which stands for a team, without the app's topic.
    #[error(
        "a provider token key (.p8) works for every app of its team: pass the option `topic`, the app's bundle id, as in \
         com.example.app"
    )]
    TopicMissing,
    /// A certificate for several topics, none of which stands out.
    #[error(
        "certificate `{subject}` is for several topics ({}): pass the option `topic` with one of them", topics.join(", ")
    )]
    TopicAmbiguous {
        /// Common name.
        subject: String,
        /// Those that it is for.
        topics: Vec<String>,
    },
    /// A topic that the certificate is not for.
    #[error(
        "certificate `{subject}` is not for the topic `{topic}`, but for {}: correct the option `topic` or leave it out", 
        topics.join(", ")
    )]
    TopicRefused {
        /// Common name.
        subject: String,
        /// The one that was wanted.
        topic: String,
        /// Those that it is for.
        topics: Vec<String>,
    },
    /// Made for Apple's other environment.
    #[error(
        "certificate `{subject}` is not for Apple's {wanted} gateway, which environment `{environment}` is: \
         provision it for the other environment, or renew it as a certificate for both"
    )]
    WrongEnvironment {
        /// Common name.
        subject: String,
        /// `sandbox` or `production`: what the gateway is.
        wanted: &'static str,
        /// The environment's name in the config.
        environment: String,
    },
    /// Not a push certificate, for one of Apple's gateways.
    #[error(
        "certificate `{subject}` is not a push certificate: make one of type Apple Push Notification service SSL in \
         Apple's developer account"
    )]
    NotPush {
        /// Common name.
        subject: String,
    },
}

/// `the options `key_id` and `team_id``, with a remark where a given one is wrong.
fn ids(missing: &[&str], bad: &[&str]) -> String {
    let missing = missing.iter().map(|name| format!("the option `{name}`"));
    let bad = bad.iter().map(|name| format!("another option `{name}` than that given"));
    missing.chain(bad).collect::<Vec<_>>().join(" and ")
}
