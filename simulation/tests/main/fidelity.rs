//! The API server in memory against the real one: the same writes, the same answers.
//!
//! The simulation is worth as much as its API server is true. One script of requests, made
//! by the program's own client, is played on both; every answer is compared, but for what no
//! two servers share (uids, versions, times).

use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use control_plane::ControlPlane;
use harbormaster::api::crd;
use http::{Request as HttpRequest, Response, header::CONTENT_TYPE};
use http_body_util::BodyExt;
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Namespace,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
        Preconditions,
    },
    client::Body,
    core::GroupVersionKind,
    runtime::{conditions, wait::await_condition},
};
use serde_json::{Value, json};
use simulation::api_server::{ApiServer, NAMESPACE, Request};

use super::script::{Do, SCRIPT_LABEL, Step, script};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_writes_get_the_same_answers_as_from_a_real_api_server() {
    // An error means that one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let control_plane = ControlPlane::start().await.unwrap();
    install(&control_plane.client()).await;
    let (real, memory) = (control_plane.client(), in_memory());
    let (mut really, mut here) = (Player::new(real), Player::new(memory));
    let mut differ = Vec::new();
    for step in script() {
        let (theirs, ours) = (really.play(&step).await, here.play(&step).await);
        if theirs != ours {
            differ.push(format!(
                "{}\n  the real one: {theirs}\n  in memory:    {ours}",
                step.says
            ));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    control_plane.stop().await.unwrap();
}

async fn install(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(NAMESPACE.to_owned());
    let params = PostParams::default();
    namespaces.create(&params, &namespace).await.unwrap();
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    // Nothing is asked of an older version, so nothing is converted.
    let reservations = crd::reservations(None).unwrap();
    for definition in [metal3::crd(), reservations, crd::calendars()] {
        let made = definitions.create(&params, &definition).await.unwrap();
        let name = made.metadata.name.unwrap();
        let established = conditions::is_crd_established();
        await_condition(definitions.clone(), &name, established)
            .await
            .unwrap();
    }
}

/// A client of an API server in memory.
fn in_memory() -> Client {
    let server = Arc::new(Mutex::new(ApiServer::default()));
    let service = tower::service_fn(move |request: HttpRequest<Body>| {
        let server = server.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let content_type = head.headers.get(CONTENT_TYPE);
            let content_type = content_type.and_then(|it| it.to_str().ok());
            let content_type = content_type.unwrap_or_default();
            let request = Request::read(&head.method, &head.uri, content_type, &body).unwrap();
            let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
            let (answer, _) = server.handle(&request, Timestamp::now());
            let body = Body::from(Bytes::from(answer.body.to_string()));
            let answer = Response::builder().status(answer.code).body(body);
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    Client::new(service, NAMESPACE)
}

/// Plays the script on one server.
struct Player {
    client: Client,
    /// Each object's latest version, its first, and its uid, as they are written in a script.
    known: BTreeMap<String, Value>,
    /// What stands for an object's uids and versions, so that two servers can be compared.
    numbers: BTreeMap<String, Vec<String>>,
}

impl Player {
    fn new(client: Client) -> Self {
        let (known, numbers) = (BTreeMap::new(), BTreeMap::new());
        Self {
            client,
            known,
            numbers,
        }
    }

    async fn play(&mut self, step: &Step) -> String {
        let resource = resource(step.kind);
        let api: Api<DynamicObject> =
            Api::namespaced_with(self.client.clone(), NAMESPACE, &resource);
        let answer = self.ask(&api, step, &resource).await;
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(kube::Error::Api(status)) => {
                return format!("{} {}", status.code, status.reason);
            }
            Err(error) => return format!("{error}"),
        };
        let key = format!("{}/{}", step.kind, step.name);
        if let Some(version) = answer["metadata"]["resourceVersion"].as_str()
            && !step.name.is_empty()
        {
            self.known
                .entry(format!("{key} first"))
                .or_insert_with(|| json!(version));
            self.known.insert(format!("{key} latest"), json!(version));
            let uid = answer["metadata"]["uid"].clone();
            self.known.insert(format!("{key} uid"), uid);
        }
        self.normalise(&mut answer);
        answer.to_string()
    }

    async fn ask(
        &self,
        api: &Api<DynamicObject>,
        step: &Step,
        resource: &ApiResource,
    ) -> Result<Value, kube::Error> {
        let name = step.name;
        let (post, patch) = (PostParams::default(), PatchParams::default());
        let apply = PatchParams::apply("harbormaster").force();
        let filled = |value: &Value| {
            let mut value = value.clone();
            self.fill(&mut value, &format!("{}/{name}", step.kind));
            value
        };
        let whole = |value: &Value| {
            let mut value = filled(value);
            value["apiVersion"] = json!(resource.api_version);
            value["kind"] = json!(resource.kind);
            value["metadata"]["name"] = json!(name);
            value
        };
        let object = |value: &Value| serde_json::from_value::<DynamicObject>(whole(value)).unwrap();
        let done = match &step.what {
            Do::Create(value) => api.create(&post, &object(value)).await,
            Do::Get => api.get(name).await,
            Do::List => {
                let params = ListParams::default().labels(SCRIPT_LABEL);
                let list = api.list(&params).await?;
                return Ok(json!({"items": list.items}));
            }
            Do::Merge(value) => api.patch(name, &patch, &Patch::Merge(filled(value))).await,
            Do::MergeStatus(value) => {
                let value = Patch::Merge(filled(value));
                api.patch_status(name, &patch, &value).await
            }
            Do::Json(value) => {
                let operations = serde_json::from_value(filled(value)).unwrap();
                api.patch(name, &patch, &Patch::Json::<()>(operations))
                    .await
            }
            Do::Apply(value) => api.patch(name, &apply, &Patch::Apply(whole(value))).await,
            Do::ApplyStatus(value) => {
                let value = Patch::Apply(whole(value));
                api.patch_status(name, &apply, &value).await
            }
            Do::Replace(value) => api.replace(name, &post, &object(value)).await,
            Do::ReplaceStatus(value) => api.replace_status(name, &post, &object(value)).await,
            Do::Delete { uid, version } => {
                let text = |value: &Option<&str>| {
                    let mut value = json!(value);
                    self.fill(&mut value, &format!("{}/{name}", step.kind));
                    value.as_str().map(str::to_owned)
                };
                let params = DeleteParams {
                    preconditions: Some(Preconditions {
                        uid: text(uid),
                        resource_version: text(version),
                    }),
                    ..DeleteParams::default()
                };
                // A Status says of what is gone less or more, and nobody reads it.
                let deleted = api.delete(name, &params).await?;
                match deleted.left() {
                    Some(object) => Ok(object),
                    None => return Ok(json!("gone")),
                }
            }
        };
        done.map(|object| serde_json::to_value(object).unwrap())
    }

    /// Puts what is known of an object in the place of `$latest`, `$first` and `$uid`.
    fn fill(&self, value: &mut Value, key: &str) {
        match value {
            Value::String(text) => {
                if let Some(what) = text.strip_prefix('$') {
                    *value = self.known[&format!("{key} {what}")].clone();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.fill(item, key)),
            Value::Object(fields) => fields.values_mut().for_each(|field| self.fill(field, key)),
            _ => {}
        }
    }

    fn normalise(&mut self, value: &mut Value) {
        if let Some(items) = value.get_mut("items").and_then(Value::as_array_mut) {
            items.iter_mut().for_each(|item| self.normalise(item));
            return;
        }
        let key = format!("{} {}", value["kind"], value["metadata"]["name"]);
        let numbers = self.numbers.entry(key).or_default();
        let Some(metadata) = value["metadata"].as_object_mut() else {
            return;
        };
        metadata.remove("managedFields");
        // Of a pod it would say something.
        metadata.remove("deletionGracePeriodSeconds");
        for field in ["uid", "resourceVersion"] {
            if let Some(text) = metadata.get(field).and_then(Value::as_str) {
                let number = numbers.iter().position(|known| known == text);
                let number = number.unwrap_or_else(|| {
                    numbers.push(text.to_owned());
                    numbers.len() - 1
                });
                metadata.insert(field.to_owned(), json!(number));
            }
        }
        for field in ["creationTimestamp", "deletionTimestamp"] {
            if metadata.contains_key(field) {
                metadata.insert(field.to_owned(), json!("a time"));
            }
        }
        if let Some(fields) = value.as_object_mut() {
            // A default of Secrets, which the program doesn't set.
            fields.retain(|field, value| !(field == "type" && *value == json!("Opaque")));
        }
    }
}

fn resource(kind: &str) -> ApiResource {
    let (group, version) = match kind {
        "BareMetalHost" => ("metal3.io", "v1alpha1"),
        "Secret" => ("", "v1"),
        _ => ("harbormaster.dev", "v1"),
    };
    let plural = format!("{}s", kind.to_lowercase());
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural)
}
