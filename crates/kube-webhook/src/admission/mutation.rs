//! The traits of a mutating hook. Implemented by programs, called by `handler`.

use futures::{
    TryFutureExt,
    future::{BoxFuture, FutureExt},
};
use serde::de::DeserializeOwned;

use super::{
    AdmissionContext, Connect, Contains, Create, Delete, MutationResult, Old, Operation,
    OperationSet, Update, ValidationResult, handler::Objects, operation::for_each_set,
};
use crate::Fault;

/// A hook that may change objects of type `K` on their way into the cluster.
///
/// It must be idempotent: the API server calls it again when a later hook changed the object
/// (`reinvocationPolicy: IfNeeded`), and a second run over its own result has to change nothing.
/// Operations that it doesn't list pass without it.
///
/// ```
/// use kube_webhook::admission::{
///     AdmissionContext, Create, MutateCreate, MutationResult, MutationWebhook,
/// };
/// use kube_webhook::Fault;
/// # use k8s_openapi::api::core::v1::ConfigMap;
///
/// struct Immutable;
///
/// impl MutationWebhook<ConfigMap> for Immutable {
///     type Operations = (Create,);
/// }
///
/// impl MutateCreate<ConfigMap> for Immutable {
///     async fn create(
///         &self,
///         mut object: ConfigMap,
///         _: &AdmissionContext<'_>,
///     ) -> Result<MutationResult<ConfigMap>, Fault> {
///         if object.immutable.is_some() {
///             return Ok(MutationResult::no_changes());
///         }
///         object.immutable = Some(true);
///         Ok(MutationResult::modified(object))
///     }
/// }
/// ```
///
/// An operation without its callback can't be registered:
///
/// ```compile_fail,E0277
/// # use kube_webhook::{Fault, Mutation, admission::*};
/// # use k8s_openapi::api::core::v1::ConfigMap;
/// struct Hook;
///
/// impl MutationWebhook<ConfigMap> for Hook {
///     type Operations = (Update,);
/// }
///
/// let webhook = Mutation::new(Hook);
/// ```
///
/// And a hook that modifies on delete can't be written, since the API server would refuse its patch:
///
/// ```compile_fail,E0271
/// # use kube_webhook::{Fault, admission::*};
/// # use k8s_openapi::api::core::v1::ConfigMap;
/// struct Hook;
///
/// impl MutationWebhook<ConfigMap> for Hook {
///     type Operations = (Delete,);
/// }
///
/// impl MutateDelete<ConfigMap> for Hook {
///     async fn delete(
///         &self,
///         old: &Old<'_, ConfigMap>,
///         _: &AdmissionContext<'_>,
///     ) -> Result<MutationResult<ConfigMap>, Fault> {
///         Ok(MutationResult::modified(old.decode()?))
///     }
/// }
/// ```
pub trait MutationWebhook<K>: Send + Sync + 'static {
    /// The operations that the hook handles, e.g. `(Create, Update)`.
    type Operations: OperationSet;
}

/// The callback for creates.
///
/// It runs before the API server's own create strategy: the object has no uid, no creation time and,
/// with `generateName`, no name yet.
#[diagnostic::on_unimplemented(
    message = "`{Self}` lists `Create` in `type Operations`, but has no callback for it",
    note = "implement `MutateCreate`, or take `Create` off the list"
)]
pub trait MutateCreate<K>: MutationWebhook<K, Operations: Contains<Create>> {
    /// Judges or changes the object about to be created.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if there can be no verdict; `failurePolicy` decides then.
    fn create(
        &self,
        object: K,
        cx: &AdmissionContext<'_>,
    ) -> impl Future<Output = Result<MutationResult<K>, Fault>> + Send;
}

/// The callback for updates.
#[diagnostic::on_unimplemented(
    message = "`{Self}` lists `Update` in `type Operations`, but has no callback for it",
    note = "implement `MutateUpdate`, or take `Update` off the list"
)]
pub trait MutateUpdate<K>: MutationWebhook<K, Operations: Contains<Update>> {
    /// Judges or changes the update from `old` to `new`.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if there can be no verdict; `failurePolicy` decides then.
    fn update(
        &self,
        old: &Old<'_, K>,
        new: K,
        cx: &AdmissionContext<'_>,
    ) -> impl Future<Output = Result<MutationResult<K>, Fault>> + Send;
}

/// The callback for deletes, which can only let pass or deny: there is nothing left to change.
#[diagnostic::on_unimplemented(
    message = "`{Self}` lists `Delete` in `type Operations`, but has no callback for it",
    note = "implement `MutateDelete`, or take `Delete` off the list"
)]
pub trait MutateDelete<K>: MutationWebhook<K, Operations: Contains<Delete>> {
    /// Judges the removal of `old`.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if there can be no verdict; `failurePolicy` decides then.
    fn delete(
        &self,
        old: &Old<'_, K>,
        cx: &AdmissionContext<'_>,
    ) -> impl Future<Output = Result<ValidationResult, Fault>> + Send;
}

/// The callback for connects: exec, attach, port-forward and proxy.
///
/// What `K` is then called for are the options of the connection, such as `PodExecOptions`; see
/// [`Resources`](crate::Resources) for how to register it. There is no stored object.
#[diagnostic::on_unimplemented(
    message = "`{Self}` lists `Connect` in `type Operations`, but has no callback for it",
    note = "implement `MutateConnect`, or take `Connect` off the list"
)]
pub trait MutateConnect<K>: MutationWebhook<K, Operations: Contains<Connect>> {
    /// Judges or changes the connection that `options` describe.
    ///
    /// # Errors
    ///
    /// A [`Fault`] if there can be no verdict; `failurePolicy` decides then.
    fn connect(
        &self,
        options: K,
        cx: &AdmissionContext<'_>,
    ) -> impl Future<Output = Result<MutationResult<K>, Fault>> + Send;
}

/// That `H` has a callback for every operation of the set: what registration asks for. Implemented
/// for every [`OperationSet`]; not for use by programs.
pub trait MutationCallbacks<H, K>: OperationSet {
    #[doc(hidden)]
    fn call<'a>(
        hook: &'a H,
        new: Option<K>,
        objects: Objects<'a>,
        cx: &'a AdmissionContext<'a>,
    ) -> BoxFuture<'a, Result<MutationResult<K>, Fault>>;
}

macro_rules! mutation_callbacks {
    ($($operation:ident $other:ident $callback:ident $call:ident,)+) => {
        impl<H, K> MutationCallbacks<H, K> for ($($operation,)+)
        where
            H: MutationWebhook<K, Operations = ($($operation,)+)> $(+ $callback<K>)+,
            K: DeserializeOwned + Send + Sync + 'static,
        {
            fn call<'a>(
                hook: &'a H,
                new: Option<K>,
                objects: Objects<'a>,
                cx: &'a AdmissionContext<'a>,
            ) -> BoxFuture<'a, Result<MutationResult<K>, Fault>> {
                #[allow(unreachable_patterns, reason = "the set of all has no other operation")]
                match cx.operation() {
                    $(Operation::$operation => $call(hook, new, objects, cx).boxed(),)+
                    _ => std::future::ready(Ok(MutationResult::no_changes())).boxed(),
                }
            }
        }
    };
}

for_each_set!(mutation_callbacks);

/// What each callback is given of a review's objects.
macro_rules! calls {
    ($(
        $call:ident $callback:ident =
            |$hook:ident, $new:ident, $objects:ident, $cx:ident| $answer:expr;
    )+) => {$(
        async fn $call<H, K>(
            $hook: &H,
            $new: Option<K>,
            $objects: Objects<'_>,
            $cx: &AdmissionContext<'_>,
        ) -> Result<MutationResult<K>, Fault>
        where
            H: $callback<K>,
            K: DeserializeOwned + Send + Sync + 'static,
        {
            $answer.await
        }
    )+};
}

calls! {
    create MutateCreate = |hook, new, _objects, cx| hook.create(sent(new)?, cx);
    update MutateUpdate = |hook, new, objects, cx| hook.update(&objects.old()?, sent(new)?, cx);
    delete MutateDelete = |hook, _new, objects, cx|
        hook.delete(&objects.old()?, cx).map_ok(unchanged);
    connect MutateConnect = |hook, new, _objects, cx| hook.connect(sent(new)?, cx);
}

/// A delete leaves nothing to change.
fn unchanged<K>(result: ValidationResult) -> MutationResult<K> {
    MutationResult {
        verdict: result.verdict,
        object: None,
    }
}

/// `handler` decodes it for every operation that has one.
fn sent<K>(new: Option<K>) -> Result<K, Fault> {
    new.ok_or_else(|| Fault::internal("the object was not decoded"))
}
