//! Conversion between the versions of a kind: a tree of converters around the storage version, most
//! often a star.
//!
//! A converter translates what both versions can say. Everything else is done here: the API server's
//! rules on metadata, objects that are already at the desired version, ways from one version to
//! another by the storage version, and, with an annotation prefix, the remainder that a version
//! can't say. An object that can't be converted fails its review with a message that names it; a
//! review that can't be understood is a [`Fault`](crate::Fault).
//!
//! `register`'s routes call `answer` with the body of a ConversionReview.

mod check;
mod delta;
mod object;
mod parts;
mod quick;
mod remainder;
mod review;
mod spoke;
mod star;

use std::{fmt, sync::Arc};

use kube::Resource;
use serde::{Serialize, de::DeserializeOwned};

pub use star::ConvertersError;

pub(crate) use review::{Converted, MIXED, answer};
pub(crate) use star::Star;

use spoke::{Typed, Version};
use star::Edge;

/// Converts objects of one version to the storage version and back.
///
/// `convert` must neither default nor validate, and needs to keep of the metadata only what it wants
/// to change: the API server ignores all but labels and annotations, and those too are kept if the
/// result has none. `apiVersion` and `kind` are set by the framework. `managedFields` aren't shown to
/// converters: they are about one version alone, and only the API server writes them.
///
/// Server-side apply may send *partial* objects, so the types should tolerate the absence of every
/// field: `#[serde(default)]` or `Option`. A missing `spec` is offered to the type as `{}`, and taken
/// out again.
///
/// ```
/// use kube::CustomResource;
/// use kube_webhook::conversion::{ConversionError, Converter};
/// use schemars::JsonSchema;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
/// #[kube(group = "example.com", version = "v1", kind = "Port", root = "V1Port")]
/// #[serde(default)]
/// struct V1PortSpec { address: String }
///
/// #[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
/// #[kube(group = "example.com", version = "v2", kind = "Port", root = "V2Port")]
/// #[serde(default)]
/// struct V2PortSpec { host: String, port: u16 }
///
/// struct V1ToV2;
///
/// impl Converter for V1ToV2 {
///     type From = V1Port;
///     type Storage = V2Port;
///
///     fn convert(&self, from: V1Port) -> Result<V2Port, ConversionError> {
///         let (host, port) = from.spec.address.split_once(':').ok_or_else(|| {
///             ConversionError::new("spec.address: write it as HOST:PORT")
///         })?;
///         Ok(V2Port {
///             metadata: from.metadata,
///             spec: V2PortSpec { host: host.to_owned(), port: port.parse()? },
///         })
///     }
///
///     fn revert(&self, storage: V2Port) -> Result<V1Port, ConversionError> {
///         let address = format!("{}:{}", storage.spec.host, storage.spec.port);
///         Ok(V1Port { metadata: storage.metadata, spec: V1PortSpec { address } })
///     }
/// }
/// ```
pub trait Converter: Send + Sync + 'static {
    /// The version that isn't stored.
    type From: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static;
    /// The version that is stored, or one that is nearer to it (see [`Converters::step`]).
    type Storage: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static;

    /// To the storage version.
    ///
    /// # Errors
    ///
    /// If the object can't be expressed there; the API request then fails with the message.
    fn convert(&self, from: Self::From) -> Result<Self::Storage, ConversionError>;

    /// Back from the storage version.
    ///
    /// # Errors
    ///
    /// If the object can't be expressed there; the API request then fails with the message.
    fn revert(&self, storage: Self::Storage) -> Result<Self::From, ConversionError>;
}

/// A kind with several versions.
pub trait ConversionWebhook: Send + Sync + 'static {
    /// The version that is stored.
    type Storage: Resource<DynamicType = ()> + Serialize + DeserializeOwned + 'static;

    /// A converter for each other version.
    fn converters(&self) -> Converters<Self::Storage>;
}

/// Converters around the storage version `S`.
#[must_use]
pub struct Converters<S> {
    edges: Vec<Edge>,
    storage: std::marker::PhantomData<fn() -> S>,
}

impl<S> Converters<S> {
    /// None yet.
    pub fn new() -> Self {
        Self {
            edges: Vec::new(),
            storage: std::marker::PhantomData,
        }
    }

    /// Adds the converter of one more version.
    #[allow(clippy::should_implement_trait, reason = "it isn't arithmetic")]
    pub fn add<C: Converter<Storage = S>>(self, converter: C) -> Self {
        self.step(converter)
    }

    /// Adds a converter between two versions of which neither needs to be the stored one: its
    /// `Storage` is then just the other of the two. All converters together form a tree, by which
    /// each version reaches the stored one in exactly one way; gaps and second ways are refused at
    /// start-up.
    ///
    /// ```
    /// # use kube_webhook::conversion::{ConversionError, Converter, Converters};
    /// # use kube::CustomResource;
    /// # use schemars::JsonSchema;
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
    /// # #[kube(group = "example.com", version = "v1", kind = "Port", root = "V1Port")]
    /// # struct V1PortSpec { number: u16 }
    /// # #[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
    /// # #[kube(group = "example.com", version = "v2", kind = "Port", root = "V2Port")]
    /// # struct V2PortSpec { number: u16 }
    /// # #[derive(CustomResource, Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
    /// # #[kube(group = "example.com", version = "v3", kind = "Port", root = "V3Port")]
    /// # struct V3PortSpec { number: u16 }
    /// # struct V1ToV2;
    /// # struct V2ToV3;
    /// # macro_rules! same { ($name:ty, $from:ident $from_spec:ident, $to:ident $to_spec:ident) => {
    /// # impl Converter for $name {
    /// #     type From = $from;
    /// #     type Storage = $to;
    /// #     fn convert(&self, from: $from) -> Result<$to, ConversionError> {
    /// #         Ok($to { metadata: from.metadata, spec: $to_spec { number: from.spec.number } })
    /// #     }
    /// #     fn revert(&self, to: $to) -> Result<$from, ConversionError> {
    /// #         Ok($from { metadata: to.metadata, spec: $from_spec { number: to.spec.number } })
    /// #     }
    /// # } } }
    /// # same!(V1ToV2, V1Port V1PortSpec, V2Port V2PortSpec);
    /// # same!(V2ToV3, V2Port V2PortSpec, V3Port V3PortSpec);
    /// let converters = Converters::<V3Port>::new()
    ///     .add(V2ToV3)
    ///     // v1 reaches v3 by way of v2.
    ///     .step(V1ToV2);
    /// ```
    pub fn step<C: Converter>(mut self, converter: C) -> Self {
        self.edges.push(Edge {
            from: Version::of::<C::From>(),
            to: Version::of::<C::Storage>(),
            spoke: Arc::new(Typed(converter)),
        });
        self
    }
}

impl<S> Default for Converters<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> fmt::Debug for Converters<S> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(
                self.edges
                    .iter()
                    .map(|edge| (edge.from.api_version(), edge.to.api_version())),
            )
            .finish()
    }
}

/// Why an object can't be converted. Any error becomes one with `?`; like [`Fault`](crate::Fault),
/// and for the same reason, it isn't a [`std::error::Error`] itself.
#[derive(Debug)]
pub struct ConversionError {
    message: String,
}

impl ConversionError {
    /// An error whose message tells the user what to do.
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
        }
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for ConversionError {
    fn from(error: E) -> Self {
        Self {
            message: crate::fault::chain(&error),
        }
    }
}

impl fmt::Display for ConversionError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}
