//! What a provider can fail at.

/// What a provider can fail at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CryptoError {
    /// The AEAD tag does not fit the data.
    #[error("the data is not authentic")]
    NotAuthentic,
    /// A key share has the wrong length or yields no secret.
    #[error("unusable key share")]
    BadKeyShare,
    /// The provider does not have the part that was asked for.
    #[error("the crypto provider does not implement this")]
    Unsupported,
    /// The provider failed for a reason of its own.
    #[error("the crypto provider failed")]
    Failed,
}

impl CryptoError {
    /// A word for logs and metrics, such as `crypto-failed`: kebab-case, and the same in every version.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::NotAuthentic => "crypto-not-authentic",
            Self::BadKeyShare => "crypto-bad-key-share",
            Self::Unsupported => "crypto-unsupported",
            Self::Failed => "crypto-failed",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::CryptoError;
    use crate::crypto::KeyError;

    /// All of them: where one is new, this does not compile until it is listed.
    fn codes() -> Vec<&'static str> {
        use {CryptoError as C, KeyError as K};
        let keys = [
            K::NotDer,
            K::NotRsa(String::new()),
            K::Pss,
            K::MultiPrime,
            K::Size(0),
            K::EvenModulus,
            K::Exponent,
            K::NotSigning(String::new()),
            K::OpenSshCertificate,
            K::Curve(String::new()),
            K::OtherAlgorithm { found: "", wanted: "" },
            K::Point,
            K::Inconsistent,
            K::Provider,
        ];
        let crypto = [C::NotAuthentic, C::BadKeyShare, C::Unsupported, C::Failed];
        let is_listed = |key: &K, crypto: &C| match (key, crypto) {
            (
                K::NotDer
                | K::NotRsa(_)
                | K::Pss
                | K::MultiPrime
                | K::Size(_)
                | K::EvenModulus
                | K::Exponent
                | K::NotSigning(_)
                | K::OpenSshCertificate
                | K::Curve(_)
                | K::OtherAlgorithm { .. }
                | K::Point
                | K::Inconsistent
                | K::Provider,
                C::NotAuthentic | C::BadKeyShare | C::Unsupported | C::Failed,
            ) => true,
        };
        assert!(keys.iter().zip(&crypto).all(|(key, crypto)| is_listed(key, crypto)));
        keys.iter().map(KeyError::code).chain(crypto.iter().map(CryptoError::code)).collect()
    }

    #[test]
    fn every_error_has_a_code_of_its_own_in_kebab_case() {
        let codes = codes();
        for (index, code) in codes.iter().enumerate() {
            assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code}");
            assert!(!codes.iter().skip(index + 1).any(|other| other == code), "{code}");
        }
    }

    #[test]
    fn an_error_of_the_library_names_no_command() {
        assert!(!crate::crypto::ParseKeyIdError.to_string().contains("countersign"));
    }
}
