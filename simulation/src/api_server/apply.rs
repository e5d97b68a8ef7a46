//! Server-side apply, for one manager an object: what it applied before and applies no more
//! goes, what others wrote stays, lists are one value.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{ApiServer, Change, Kind, Refusal, Request, fields, prune_nulls, version_of};

impl ApiServer {
    pub(super) fn apply(
        &mut self,
        request: &Request,
        configuration: &Value,
        now: Timestamp,
    ) -> Result<(Value, Option<Change>), Refusal> {
        let mut wanted = configuration.clone();
        prune_nulls(&mut wanted);
        fields(&mut wanted["metadata"]).remove("resourceVersion");
        let key = (request.kind, request.name.clone(), request.status);
        let Some(stored) = self.one(request.kind, &request.name).cloned() else {
            if request.status {
                return Err(Refusal::NotFound);
            }
            // With a version it is a change of something, and that is gone.
            if version_of(configuration).is_some() {
                return Err(Refusal::Invalid("resourceVersion must not be set"));
            }
            wanted["metadata"]["name"] = json!(request.name);
            let made = self.create(request.kind, &wanted, now)?;
            self.applied.insert(key, wanted);
            return Ok(made);
        };
        let version = version_of(configuration);
        if version.is_some_and(|version| Some(version) != version_of(&stored)) {
            return Err(Refusal::Conflict);
        }
        let mut changed = stored.clone();
        if let Some(before) = self.applied.get(&key) {
            remove(&mut changed, before, &wanted);
        }
        merge(&mut changed, &wanted);
        if request.kind != Kind::Secret {
            let other = if request.status { "spec" } else { "status" };
            match stored.get(other) {
                Some(value) => changed[other] = value.clone(),
                None => drop(fields(&mut changed).remove(other)),
            }
        }
        let done = self.settle(request.kind, &request.name, &stored, changed, now)?;
        self.applied.insert(key, wanted);
        Ok(done)
    }
}

fn remove(live: &mut Value, before: &Value, wanted: &Value) {
    let (Value::Object(live), Value::Object(before)) = (live, before) else {
        return;
    };
    for (field, value) in before {
        match (wanted.get(field), value) {
            (None, _) => drop(live.remove(field)),
            (Some(wanted), Value::Object(_)) => {
                if let Some(live) = live.get_mut(field) {
                    remove(live, value, wanted);
                }
            }
            _ => {}
        }
    }
}

fn merge(live: &mut Value, wanted: &Value) {
    let Value::Object(wanted) = wanted else {
        *live = wanted.clone();
        return;
    };
    let live = fields(live);
    for (field, value) in wanted {
        merge(live.entry(field.clone()).or_insert(Value::Null), value);
    }
}
