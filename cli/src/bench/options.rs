//! The values that `bench` takes, parsed into what they mean.

use countersign::KeySize;
use countersign::accounts::HashParameters;
use countersign::crypto::Provider;

/// The crypto providers that this command was built with, the one that `serve` uses first.
pub(crate) fn built_in() -> Vec<Provider> {
    vec![
        #[cfg(feature = "aws-lc")]
        countersign::crypto::aws_lc::provider(),
        // Without either feature there would be none at all: `crypto` falls back to this one, too.
        #[cfg(any(feature = "rustcrypto", not(feature = "aws-lc")))]
        countersign::crypto::rustcrypto::provider(),
    ]
}

pub(crate) fn provider(name: &str) -> Result<Provider, String> {
    built_in().into_iter().find(|provider| provider.name == name).ok_or_else(|| {
        let names: Vec<&str> = built_in().iter().map(|provider| provider.name).collect();
        format!("this build has {}; others are features of the command", names.join(" and "))
    })
}

pub(crate) fn bits(text: &str) -> Result<KeySize, String> {
    [KeySize::Rsa2048, KeySize::Rsa3072, KeySize::Rsa4096]
        .into_iter()
        .find(|size| size.bits().to_string() == text)
        .ok_or_else(|| "there are 2048, 3072 and 4096".to_owned())
}

/// Parses `m=19456,t=2,p=1`, in any order; what is left out stays at its default.
pub(crate) fn argon2(text: &str) -> Result<HashParameters, String> {
    let default = HashParameters::default();
    let (mut memory, mut passes, mut lanes) = (default.memory(), default.passes(), default.lanes());
    for part in text.split(',') {
        let bad = || format!("{part:?} is not m=KIBIBYTES, t=PASSES or p=LANES");
        let (name, value) = part.split_once('=').ok_or_else(bad)?;
        let value = value.parse().map_err(|_| bad())?;
        match name {
            "m" => memory = value,
            "t" => passes = value,
            "p" => lanes = value,
            _ => return Err(bad()),
        }
    }
    // What a users file may hold is the library's to say.
    HashParameters::new(memory, passes, lanes).map_err(|_| {
        "m is at least 8 for each lane, t and p are at least 1; a users file takes at most m=1048576, t=32, p=16"
            .to_owned()
    })
}

/// A share, from 0 to 1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share is from 0 to 1, such as 0.9".to_owned())
}

/// The most logins a second that can be asked for.
const FASTEST: f64 = 100_000.0;

/// Logins a second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|&rate| rate > 0.0 && rate <= FASTEST);
    rate.ok_or_else(|| format!("a rate is a number of logins a second, more than 0 and at most {FASTEST}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_defaults_and_bounds() {
        let parsed = |text| argon2(text).map(|params| [params.memory(), params.passes(), params.lanes()]);
        assert_eq!(parsed("m=19456,t=2,p=1"), Ok([19456, 2, 1]));
        assert_eq!(parsed("p=4,m=65536"), Ok([65536, 2, 4]));
        for text in ["", "m", "m=", "m=x", "x=1", "m=1", "t=0", "p=0", "m=1048577", "t=33", "p=17", "m=-1", "m=8,,t=1"]
        {
            assert!(parsed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shares_and_rates_are_in_range() {
        assert_eq!((share("0"), share("1"), share("0.9")), (Ok(0.0), Ok(1.0), Ok(0.9)));
        assert_eq!((rate("0.5"), rate("100000")), (Ok(0.5), Ok(100_000.0)));
        assert!(["-0.1", "1.1", "NaN", "inf", "", "90%"].into_iter().all(|text| share(text).is_err()));
        assert!(["0", "-1", "NaN", "inf", "100001", ""].into_iter().all(|text| rate(text).is_err()));
    }

    #[test]
    fn every_provider_is_found_by_its_name() {
        assert!(!built_in().is_empty());
        assert!(built_in().iter().all(|built| provider(built.name).unwrap().name == built.name));
        assert!(provider("openssl").is_err());
    }
}
