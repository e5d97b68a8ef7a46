//! The site's own user data: a cloud-init document from a template, made anew for each host.
//!
//! Values are written as JSON, which is YAML, whatever the template puts around them, so that
//! no name and no key can become another line of the document; what comes out is read back
//! before it is given to a host. It is the user's keys that must be on it, and nothing of it
//! is ever told: a site's template may hold what its users must not know. The file is read for
//! each host, so that a ConfigMap's new text counts without a restart. Called by the writer of
//! hosts.

use std::{io, path::PathBuf};

use minijinja::{AutoEscape, Environment, UndefinedBehavior, syntax::SyntaxConfig};
use serde::Serialize;
use serde_json::Value;

use super::accepted_keys;
use crate::{
    api::v1::{Access, AuthorizedKey, BookedResource, Requester, Reservation, Window},
    ssh::PublicKey,
};

/// The file that holds the template.
#[derive(Clone, Debug)]
pub struct Template {
    file: PathBuf,
}

/// Why a template makes no user data.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// The template itself, or what it asks for.
    #[error("the template is faulty: {0}")]
    Faulty(#[source] minijinja::Error),
    /// The user could not log in.
    #[error("a key of the user's is not in what the template makes: use `authorized_keys`")]
    KeyLeftOut,
    /// Not YAML, or no mapping.
    #[error("what the template makes is no YAML mapping{}", place(.0))]
    NotAMapping(Option<u64>),
    /// Another kind of user data: in a script, no value could be quoted for good.
    #[error("what the template makes does not begin with the line `#cloud-config`")]
    NotCloudConfig,
    /// More than fits into a Secret with ease.
    #[error("what the template makes is larger than {} KiB", LARGEST / 1024)]
    TooLarge,
    /// The file.
    #[error("the file {} can't be read: {source}", file.display())]
    Unreadable {
        /// Where it should be.
        file: PathBuf,
        /// Why it isn't.
        source: io::Error,
    },
}

impl Template {
    /// Whether it would do for a booking that says little: told at the start of the program,
    /// and no reason not to start, since hosts must be taken back all the same.
    ///
    /// # Errors
    ///
    /// If it would not.
    pub async fn try_out(&self) -> Result<(), TemplateError> {
        let mut booking = Reservation::default();
        booking.spec.requester = Some(Requester {
            username: Some("somebody".to_owned()),
            ..Requester::default()
        });
        booking.spec.access = Some(Access {
            authorized_keys: vec![AuthorizedKey {
                name: None,
                key: "ssh-ed25519 AAAA somebody".to_owned(),
            }],
            ..Access::default()
        });
        self.document(&booking, "host").await.map(drop)
    }

    /// The template in a file.
    pub fn new(file: PathBuf) -> Self {
        Self { file }
    }

    /// The user data of a reservation on a host.
    ///
    /// # Errors
    ///
    /// If the template is broken: a host must not get half of it.
    pub async fn document(
        &self,
        reservation: &Reservation,
        host: &str,
    ) -> Result<String, TemplateError> {
        let read = tokio::fs::read_to_string(&self.file).await;
        let source = read.map_err(|source| TemplateError::Unreadable {
            file: self.file.clone(),
            source,
        })?;
        render(&source, reservation, host)
    }
}

/// What a template may ask for. What a booking doesn't say is undefined in it.
#[derive(Serialize)]
struct Facts<'a> {
    authorized_keys: Vec<&'a str>,
    host: &'a str,
    parameters: Value,
    requester: Requester,
    reservation: Named<'a>,
    resource: BookedResource,
    window: Window,
}

#[derive(Serialize)]
struct Named<'a> {
    name: Option<&'a String>,
    namespace: Option<&'a String>,
    title: Option<&'a String>,
}

fn render(source: &str, reservation: &Reservation, host: &str) -> Result<String, TemplateError> {
    let keys = accepted_keys(reservation);
    let spec = &reservation.spec;
    let title = spec
        .source
        .as_ref()
        .and_then(|source| source.title.as_ref());
    let facts = Facts {
        authorized_keys: keys.iter().map(PublicKey::as_str).collect(),
        host,
        parameters: spec.parameters.clone().into_iter().flatten().collect(),
        requester: spec.requester.clone().unwrap_or_default(),
        reservation: Named {
            name: reservation.metadata.name.as_ref(),
            namespace: reservation.metadata.namespace.as_ref(),
            title,
        },
        resource: spec.resource.clone().unwrap_or_default(),
        window: spec.window.clone(),
    };
    let rendered = environment().render_named_str(NAME, source, minijinja::value::Serde(facts));
    let document = rendered.map_err(TemplateError::Faulty)?;
    check(&document, &keys)?;
    Ok(document)
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Json);
    // It would switch the escaping off.
    environment.remove_filter("safe");
    // A name that is misspelt must not become an empty place in somebody's configuration.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    let syntax = SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .lstrip_blocks(true)
        .trim_blocks(true)
        .build()
        .expect("these are the usual delimiters");
    environment.set_syntax(syntax);
    environment.set_fuel(Some(FUEL));
    environment
}

fn check(document: &str, keys: &[PublicKey]) -> Result<(), TemplateError> {
    if document.len() > LARGEST {
        return Err(TemplateError::TooLarge);
    }
    if document.lines().next().map(str::trim_end) != Some("#cloud-config") {
        return Err(TemplateError::NotCloudConfig);
    }
    // Its message would show a piece of the document.
    let read: Value = serde_saphyr::from_str(document).map_err(|error| {
        let place = error.location().map(|location| location.line());
        TemplateError::NotAMapping(place)
    })?;
    if !read.is_object() {
        return Err(TemplateError::NotAMapping(None));
    }
    let is_there = |key: &PublicKey| holds(&read, key.as_str());
    if keys.iter().all(is_there) {
        Ok(())
    } else {
        Err(TemplateError::KeyLeftOut)
    }
}

fn holds(value: &Value, key: &str) -> bool {
    match value {
        Value::String(text) => text.contains(key),
        Value::Array(items) => items.iter().any(|item| holds(item, key)),
        Value::Object(fields) => fields.values().any(|field| holds(field, key)),
        _ => false,
    }
}

fn place(line: &Option<u64>) -> String {
    line.map_or_else(String::new, |line| format!(": see its line {line}"))
}

/// How errors call it.
const NAME: &str = "USER_DATA_TEMPLATE";

/// Steps; a document of some hundred lines takes a few thousand.
const FUEL: u64 = 200_000;

const LARGEST: usize = 256 * 1024;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEMPLATE: &str = "#cloud-config\n\
        hostname: {{ host }}\n\
        ssh_pwauth: false\n\
        users:\n\
        - name: {{ requester.username }}\n\
        {% if requester.email %}\n  gecos: {{ requester.email }}\n{% endif %}\n\
        \x20 ssh_authorized_keys: {{ authorized_keys }}\n\
        write_files:\n\
        - path: /etc/os-wish\n\
        \x20 content: {{ parameters.os | default(\"any\") }}\n";

    fn booked(username: &str) -> Reservation {
        serde_json::from_value(json!({
            "apiVersion": "harbormaster.dev/v1",
            "kind": "Reservation",
            "metadata": {"name": "portal-101", "namespace": "metal3"},
            "spec": {
                "window": {"start": "2026-01-01T10:00:00Z"},
                "requester": {"username": username},
                "access": {"authorizedKeys": [{"key": "ssh-ed25519 AAAA mario: \"x\" # {y}"}]},
            },
        }))
        .unwrap()
    }

    fn refused(template: &str) -> String {
        render(template, &booked("mario"), "srv")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn a_template_makes_a_document_with_the_users_name_and_keys() {
        let document = render(TEMPLATE, &booked("mario"), "srv").unwrap();
        let read: Value = serde_saphyr::from_str(&document).unwrap();
        assert_eq!(read["hostname"], "srv");
        assert_eq!(read["users"][0]["name"], "mario");
        assert_eq!(
            read["users"][0]["ssh_authorized_keys"],
            json!(["ssh-ed25519 AAAA mario: \"x\" # {y}"])
        );
        assert_eq!(read["users"][0]["gecos"], Value::Null);
        assert_eq!(read["write_files"][0]["content"], "any");
        assert!(!document.contains("passw"));
    }

    #[test]
    fn a_name_never_becomes_another_line() {
        let evil = "x\n  sudo: ALL\nruncmd: [reboot] # {{ host }} \" ' \\ \u{85} \u{2028} è 😀";
        let document = render(TEMPLATE, &booked(evil), "srv").unwrap();
        let read: Value = serde_saphyr::from_str(&document).unwrap();
        assert_eq!(read["users"][0]["name"], evil);
        assert_eq!(read.get("runcmd"), None);
    }

    #[test]
    fn a_broken_template_makes_nothing_and_says_why_without_its_text() {
        for (template, why) in [
            ("#cloud-config\na: {{ hots }}\n", "undefined value"),
            ("#cloud-config\na: {{ host\n", "syntax error"),
            ("#cloud-config\na: {{ host | safe }}\n", "unknown filter"),
            ("#!/bin/sh\necho {{ host }}\n", "#cloud-config"),
            (
                "#cloud-config\npassword: [hunter2\nb: {{ authorized_keys }}\n",
                "no YAML mapping",
            ),
            ("#cloud-config\n- hunter2\n", "no YAML mapping"),
            ("#cloud-config\nhostname: {{ host }}\n", "authorized_keys"),
            (
                "#cloud-config\n{% for a in range(9999) %}{% for b in range(9999) %}a\n{% endfor %}{% endfor %}",
                "fuel",
            ),
        ] {
            let told = refused(template);
            assert!(told.contains(why), "{template}: {told}");
            assert!(!told.contains("hunter2"), "{told}");
        }
    }

    #[tokio::test]
    async fn a_file_that_is_not_there_is_named() {
        let template = Template::new(PathBuf::from("no-such-file"));
        let error = template.document(&booked("mario"), "srv").await;
        assert!(error.unwrap_err().to_string().contains("no-such-file"));
    }
}
