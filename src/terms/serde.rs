//! `serde` for what stands in configuration files and reports. What is deserialized is checked as if built by hand.

use crate::crypto::{KeyId, Suite};
use crate::terms::grant::Grant;
use serde::de::Error;
use serde::ser::SerializeStruct;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// As they print and parse: a fingerprint, a suite's name.
macro_rules! as_text {
    ($($type:ty),*) => { $(
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )* };
}
as_text!(KeyId, Suite);

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let permissions: Vec<&str> = self.permissions().collect();
        let mut fields = serializer.serialize_struct("Grant", 2)?;
        fields.serialize_field("principal", self.principal())?;
        fields.serialize_field("permissions", &permissions)?;
        fields.end()
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Fields {
            principal: String,
            #[serde(default)]
            permissions: Vec<String>,
        }
        let Fields { principal, permissions } = Fields::deserialize(deserializer)?;
        Self::new(principal, permissions).map_err(D::Error::custom)
    }
}
