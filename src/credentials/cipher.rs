//! What a passphrase protects, opened: PBES2 (RFC 8018, 6.2), the schemes of PKCS#12 (RFC 7292, C), and the encrypted
//! PEM of old OpenSSL (RFC 1421, 4.6.1.3). How much work a file may ask for is bounded before it is done.

use std::num::NonZeroU32;

use aws_lc_rs::{digest, pbkdf2};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt as _, KeyInit, KeyIvInit as _};
use md5::{Digest as _, Md5};

use super::der::{INTEGER, NULL, OCTET_STRING, OID, Reader, SEQUENCE};

/// Most iterations of key derivation that a file may ask for, all keys in it together: files of today ask for 600,000
/// three times, and this many take a second, with SHA-512 two.
pub(super) const ITERATIONS_MAX: u32 = 5_000_000;

/// Why something encrypted cannot be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// BER: indefinite lengths or strings in parts.
    Ber,
    /// Not what it should be.
    Damaged,
    /// Encrypted in a way that is not known here.
    Algorithm,
    /// More iterations than [`ITERATIONS_MAX`].
    Iterations,
    /// Another passphrase.
    Passphrase,
}

/// The iterations that a file may still ask for.
pub(super) struct Allowance(u32);

impl Allowance {
    pub(super) fn new() -> Self {
        Self(ITERATIONS_MAX)
    }

    /// Takes what deriving so many bytes costs. Every block of the hash takes all iterations.
    fn take(&mut self, iterations: NonZeroU32, bytes: usize, block: usize) -> Result<(), Fault> {
        let blocks = u32::try_from(bytes.div_ceil(block)).map_err(|_| Fault::Iterations)?;
        let cost = iterations.get().checked_mul(blocks).ok_or(Fault::Iterations)?;
        self.0 = self.0.checked_sub(cost).ok_or(Fault::Iterations)?;
        Ok(())
    }
}

/// A passphrase in the two forms in which keys are derived from it.
pub(super) struct Passphrase<'a> {
    pub(super) text: &'a str,
    /// UTF-16, big endian, with a zero at its end (RFC 7292, B.1).
    pub(super) wide: Vec<u8>,
}

impl<'a> Passphrase<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let wide = text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect();
        Self { text, wide }
    }

    /// No passphrase, which PKCS#12 tells apart from an empty one.
    pub(super) fn absent() -> Self {
        Self { text: "", wide: Vec::new() }
    }
}

/// An object identifier, its content in DER.
pub(super) type Oid = [u8];

const PBES2: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0d";
const PBKDF2: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x05\x0c";
const HMAC_SHA1: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x02\x07";
const HMAC_SHA256: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x02\x09";
const HMAC_SHA384: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x02\x0a";
const HMAC_SHA512: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x02\x0b";
const AES_128_CBC: &Oid = b"\x60\x86\x48\x01\x65\x03\x04\x01\x02";
const AES_192_CBC: &Oid = b"\x60\x86\x48\x01\x65\x03\x04\x01\x16";
const AES_256_CBC: &Oid = b"\x60\x86\x48\x01\x65\x03\x04\x01\x2a";
const DES_EDE3_CBC: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x03\x07";
const PKCS12_3DES: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x03";
const PKCS12_RC2_128: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x05";
const PKCS12_RC2_40: &Oid = b"\x2a\x86\x48\x86\xf7\x0d\x01\x0c\x01\x06";

/// A block cipher in CBC mode with PKCS#7 padding.
#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    TripleDes,
    Rc2 { key_bytes: usize },
}

impl Cipher {
    const fn key_bytes(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 | Self::TripleDes => 24,
            Self::Aes256 => 32,
            Self::Rc2 { key_bytes } => key_bytes,
        }
    }

    fn decrypt(self, key: &[u8], iv: &[u8], data: &[u8]) -> Result<Vec<u8>, Fault> {
        match self {
            Self::Aes128 => decrypt_with::<aes::Aes128>(key, iv, data),
            Self::Aes192 => decrypt_with::<aes::Aes192>(key, iv, data),
            Self::Aes256 => decrypt_with::<aes::Aes256>(key, iv, data),
            Self::TripleDes => decrypt_with::<des::TdesEde3>(key, iv, data),
            Self::Rc2 { .. } => decrypt_with::<rc2::Rc2>(key, iv, data),
        }
    }
}

/// Bad padding is all that tells a wrong key. What is kept encrypted here is always one sequence, which tells the rest.
fn decrypt_with<C: BlockCipherDecrypt + KeyInit>(key: &[u8], iv: &[u8], data: &[u8]) -> Result<Vec<u8>, Fault> {
    let decryptor = Decryptor::<C>::new_from_slices(key, iv).map_err(|_| Fault::Damaged)?;
    let plain = decryptor.decrypt_padded_vec::<Pkcs7>(data).map_err(|_| Fault::Passphrase)?;
    let mut reader = Reader::new(&plain);
    match reader.expect(SEQUENCE) {
        Ok(_) if reader.is_empty() => Ok(plain),
        Ok(_) | Err(_) => Err(Fault::Passphrase),
    }
}

/// Opens what was encrypted with an algorithm: the content of its `AlgorithmIdentifier`.
pub(super) fn open(
    mut algorithm: Reader<'_>,
    data: &[u8],
    passphrase: &Passphrase<'_>,
    allowance: &mut Allowance,
) -> Result<Vec<u8>, Fault> {
    let cipher = match algorithm.expect(OID)? {
        PBES2 => return open_pbes2(algorithm.enter(SEQUENCE)?, data, passphrase, allowance),
        PKCS12_3DES => Cipher::TripleDes,
        PKCS12_RC2_128 => Cipher::Rc2 { key_bytes: 16 },
        PKCS12_RC2_40 => Cipher::Rc2 { key_bytes: 5 },
        _ => return Err(Fault::Algorithm),
    };
    let mut parameters = algorithm.enter(SEQUENCE)?;
    let salt = parameters.expect(OCTET_STRING)?;
    let iterations = NonZeroU32::new(parameters.number()?).ok_or(Fault::Damaged)?;
    let sha1 = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let mut derive = |use_, bytes| derive_pkcs12(sha1, use_, &passphrase.wide, salt, iterations, bytes, allowance);
    let key = derive(Use::Key, cipher.key_bytes())?;
    // Both ciphers have blocks of 8 bytes.
    let iv = derive(Use::Iv, 8)?;
    cipher.decrypt(&key, &iv, data)
}

fn open_pbes2(
    mut parameters: Reader<'_>,
    data: &[u8],
    passphrase: &Passphrase<'_>,
    allowance: &mut Allowance,
) -> Result<Vec<u8>, Fault> {
    let mut derivation = parameters.enter(SEQUENCE)?;
    let mut encryption = parameters.enter(SEQUENCE)?;
    if derivation.expect(OID)? != PBKDF2 {
        return Err(Fault::Algorithm);
    }
    let mut derivation = derivation.enter(SEQUENCE)?;
    let salt = derivation.expect(OCTET_STRING)?;
    let iterations = NonZeroU32::new(derivation.number()?).ok_or(Fault::Damaged)?;
    derivation.optional(INTEGER)?;
    let (function, block) = match derivation.optional(SEQUENCE)? {
        None => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
        Some(function) => pseudo_random_function(Reader::new(function))?,
    };
    let cipher = match encryption.expect(OID)? {
        AES_128_CBC => Cipher::Aes128,
        AES_192_CBC => Cipher::Aes192,
        AES_256_CBC => Cipher::Aes256,
        DES_EDE3_CBC => Cipher::TripleDes,
        _ => return Err(Fault::Algorithm),
    };
    let iv = encryption.expect(OCTET_STRING)?;
    let mut key = vec![0; cipher.key_bytes()];
    allowance.take(iterations, key.len(), block)?;
    pbkdf2::derive(function, iterations, salt, passphrase.text.as_bytes(), &mut key);
    cipher.decrypt(&key, iv, data)
}

/// A function of PBKDF2, and the bytes of its hash.
fn pseudo_random_function(mut algorithm: Reader<'_>) -> Result<(pbkdf2::Algorithm, usize), Fault> {
    let function = match algorithm.expect(OID)? {
        HMAC_SHA1 => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
        HMAC_SHA256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
        HMAC_SHA384 => (pbkdf2::PBKDF2_HMAC_SHA384, 48),
        HMAC_SHA512 => (pbkdf2::PBKDF2_HMAC_SHA512, 64),
        _ => return Err(Fault::Algorithm),
    };
    algorithm.optional(NULL)?;
    Ok(function)
}

/// What is derived from a passphrase in PKCS#12 (RFC 7292, B.3).
#[derive(Clone, Copy)]
pub(super) enum Use {
    Key = 1,
    Iv = 2,
    Mac = 3,
}

/// Derives bytes as PKCS#12 does (RFC 7292, B.2).
pub(super) fn derive_pkcs12(
    hash: &'static digest::Algorithm,
    use_: Use,
    passphrase: &[u8],
    salt: &[u8],
    iterations: NonZeroU32,
    bytes: usize,
    allowance: &mut Allowance,
) -> Result<Vec<u8>, Fault> {
    allowance.take(iterations, bytes, hash.output_len())?;
    let block = hash.block_len();
    let filled = |text: &[u8]| -> Vec<u8> {
        let length = text.len().next_multiple_of(block);
        text.iter().copied().cycle().take(length).collect()
    };
    let mut input = [filled(salt), filled(passphrase)].concat();
    let mut derived = Vec::new();
    loop {
        let mut context = digest::Context::new(hash);
        context.update(&vec![use_ as u8; block]);
        context.update(&input);
        let mut digested = context.finish();
        for _ in 1..iterations.get() {
            digested = digest::digest(hash, digested.as_ref());
        }
        let digested = digested.as_ref();
        derived.extend_from_slice(digested);
        if derived.len() >= bytes {
            derived.truncate(bytes);
            return Ok(derived);
        }
        for part in input.chunks_exact_mut(block) {
            let mut carry = 1;
            for (byte, add) in part.iter_mut().zip(digested.iter().cycle().take(block).collect::<Vec<_>>()).rev() {
                let [high, low] = (u16::from(*byte) + u16::from(*add) + carry).to_be_bytes();
                (*byte, carry) = (low, u16::from(high));
            }
        }
    }
}

/// Opens an encrypted key in PKCS#8 (`EncryptedPrivateKeyInfo`; RFC 5958, 3).
pub(super) fn open_key(der: &[u8], passphrase: &Passphrase<'_>, allowance: &mut Allowance) -> Result<Vec<u8>, Fault> {
    let mut shrouded = Reader::new(der).enter(SEQUENCE)?;
    let algorithm = shrouded.enter(SEQUENCE)?;
    open(algorithm, shrouded.expect(OCTET_STRING)?, passphrase, allowance)
}

/// Opens a block of PEM with the headers of old OpenSSL; `info` is its `DEK-Info`.
pub(super) fn open_traditional(info: &str, data: &[u8], passphrase: &str) -> Result<Vec<u8>, Fault> {
    let (name, iv) = info.split_once(',').ok_or(Fault::Damaged)?;
    let (cipher, iv_bytes) = match name.trim() {
        "AES-128-CBC" => (Cipher::Aes128, 16),
        "AES-192-CBC" => (Cipher::Aes192, 16),
        "AES-256-CBC" => (Cipher::Aes256, 16),
        "DES-EDE3-CBC" => (Cipher::TripleDes, 8),
        _ => return Err(Fault::Algorithm),
    };
    let iv = from_hex(iv.trim()).filter(|iv| iv.len() == iv_bytes).ok_or(Fault::Damaged)?;
    // EVP_BytesToKey of OpenSSL: MD5, one iteration, the first 8 bytes of the vector as salt.
    let (mut key, mut digested) = (Vec::new(), Vec::new());
    while key.len() < cipher.key_bytes() {
        digested =
            Md5::new().chain_update(&digested).chain_update(passphrase).chain_update(&iv[..8]).finalize().to_vec();
        key.extend_from_slice(&digested);
    }
    key.truncate(cipher.key_bytes());
    cipher.decrypt(&key, &iv, data)
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.chars().map(|digit| digit.to_digit(16)?.try_into().ok()).collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn iterations(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    #[test]
    fn all_keys_of_a_file_share_one_allowance_and_nothing_is_derived_beyond_it() {
        let mut allowance = Allowance::new();
        assert_eq!(allowance.take(iterations(1_500_000), 32, 20), Ok(()), "two blocks of SHA-1");
        assert_eq!(allowance.take(iterations(2_000_001), 32, 32), Err(Fault::Iterations));
        assert_eq!(allowance.take(iterations(2_000_000), 32, 32), Ok(()));
        assert_eq!(allowance.take(iterations(1), 1, 20), Err(Fault::Iterations));
        assert_eq!(Allowance::new().take(NonZeroU32::MAX, 40, 20), Err(Fault::Iterations));
    }

    #[test]
    fn keys_are_derived_as_others_derive_them() {
        // openssl kdf -keylen 24 -kdfopt digest:SHA1 -kdfopt hexpass:0073006d006500670000 -kdfopt hexsalt:0a58cf64530d823f
        // -kdfopt id:1 -kdfopt iter:1 PKCS12KDF, a vector that most implementations have.
        let (passphrase, salt) = (Passphrase::new("smeg").wide, b"\x0a\x58\xcf\x64\x53\x0d\x82\x3f");
        assert_eq!(passphrase, b"\0s\0m\0e\0g\0\0");
        let sha1 = &digest::SHA1_FOR_LEGACY_USE_ONLY;
        let key = derive_pkcs12(sha1, Use::Key, &passphrase, salt, iterations(1), 24, &mut Allowance::new());
        let expected =
            b"\x8a\xaa\xe6\x29\x7b\x6c\xb0\x46\x42\xab\x5b\x07\x78\x51\x28\x4e\xb7\x12\x8f\x1a\x2a\x7f\xbc\xa3";
        assert_eq!(key.unwrap(), expected);
    }

    #[test]
    fn hex_is_read_in_either_case() {
        assert_eq!(from_hex("00fFA9"), Some(vec![0x00, 0xff, 0xa9]));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
    }
}
