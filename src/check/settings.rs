//! What the Deployment tells the program, read as the kubelet would: a container's own `env`
//! overrules what `envFrom` brings. Used by `collect`.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentSpec, StatefulSet},
    core::v1::{Container, EnvVar, PodSpec},
};

use super::observed::Setting;
use crate::manifests::NAME;

/// The program's container, and the pod around it.
pub(super) fn container(deployment: &Deployment) -> Option<(&PodSpec, &Container)> {
    let pod = deployment.spec.as_ref()?.template.spec.as_ref()?;
    let named = pod
        .containers
        .iter()
        .find(|container| container.name == NAME);
    Some((pod, named.or_else(|| pod.containers.first())?))
}

/// A StatefulSet, as far as it says the same.
pub(super) fn as_deployment(set: StatefulSet) -> Deployment {
    let spec = set.spec.map(|spec| DeploymentSpec {
        replicas: spec.replicas,
        selector: spec.selector,
        template: spec.template,
        ..DeploymentSpec::default()
    });
    Deployment {
        metadata: set.metadata,
        spec,
        status: None,
    }
}

/// The ConfigMaps that a container's settings stand in.
pub(super) fn config_maps(container: &Container) -> impl Iterator<Item = &String> {
    let whole = container.env_from.iter().flatten();
    let whole = whole
        .filter_map(|from| from.config_map_ref.as_ref())
        .map(|from| &from.name);
    let single = container.env.iter().flatten();
    let single = single
        .filter_map(|env| env.value_from.as_ref()?.config_map_key_ref.as_ref())
        .map(|from| &from.name);
    whole.chain(single)
}

/// The settings, as far as these ConfigMaps tell them.
pub(super) fn resolve(
    container: &Container,
    config_maps: &BTreeMap<String, BTreeMap<String, String>>,
) -> BTreeMap<String, Setting> {
    let mut settings = BTreeMap::new();
    for from in container.env_from.iter().flatten() {
        let Some(map) = from
            .config_map_ref
            .as_ref()
            .and_then(|from| config_maps.get(&from.name))
        else {
            continue;
        };
        let prefix = from.prefix.as_deref().unwrap_or_default();
        for (key, value) in map {
            settings.insert(format!("{prefix}{key}"), Setting::Value(value.clone()));
        }
    }
    for env in container.env.iter().flatten() {
        if let Some(setting) = single(env, config_maps) {
            settings.insert(env.name.clone(), setting);
        }
    }
    settings
}

fn single(
    env: &EnvVar,
    config_maps: &BTreeMap<String, BTreeMap<String, String>>,
) -> Option<Setting> {
    let Some(from) = &env.value_from else {
        return Some(Setting::Value(env.value.clone().unwrap_or_default()));
    };
    if let Some(from) = &from.secret_key_ref {
        return Some(Setting::Secret {
            name: from.name.clone(),
            key: from.key.clone(),
            optional: from.optional.unwrap_or_default(),
        });
    }
    let from = from.config_map_key_ref.as_ref()?;
    let value = config_maps.get(&from.name)?.get(&from.key)?;
    Some(Setting::Value(value.clone()))
}

/// The Secret that is mounted as this folder.
pub(super) fn mounted_secret(pod: &PodSpec, container: &Container, folder: &str) -> Option<String> {
    let folder = folder.trim_end_matches('/');
    let mounts = container.volume_mounts.iter().flatten();
    let mut here = mounts.filter(|mount| mount.mount_path.trim_end_matches('/') == folder);
    let volume = &here.next()?.name;
    let mut volumes = pod.volumes.iter().flatten();
    let volume = volumes.find(|one| one.name == *volume)?;
    volume.secret.as_ref()?.secret_name.clone()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_the_container_says_itself_overrules_its_config_map() {
        let container: Container = serde_json::from_value(json!({
            "name": "harbormaster",
            "envFrom": [{"configMapRef": {"name": "harbormaster"}}],
            "env": [
                {"name": "PORT", "value": "5001"},
                {"name": "WEBHOOK_SECRET", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                {"name": "LOG_LEVEL", "valueFrom": {"configMapKeyRef": {"name": "other", "key": "l"}}},
            ],
        }))
        .unwrap();
        let map = |pairs: &[(&str, &str)]| {
            let owned = pairs
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
            owned.collect::<BTreeMap<_, _>>()
        };
        let config_maps = BTreeMap::from([
            (
                "harbormaster".to_owned(),
                map(&[("PORT", "9"), ("PROVISION_IMAGE", "http://i")]),
            ),
            ("other".to_owned(), map(&[("l", "debug")])),
        ]);
        assert_eq!(config_maps_of(&container), ["harbormaster", "other"]);
        let settings = resolve(&container, &config_maps);
        let value = |text: &str| Setting::Value(text.to_owned());
        assert_eq!(settings["PORT"], value("5001"));
        assert_eq!(settings["PROVISION_IMAGE"], value("http://i"));
        assert_eq!(settings["LOG_LEVEL"], value("debug"));
        assert!(matches!(
            &settings["WEBHOOK_SECRET"],
            Setting::Secret {
                optional: false,
                ..
            }
        ));
    }

    fn config_maps_of(container: &Container) -> Vec<&str> {
        config_maps(container).map(String::as_str).collect()
    }

    #[test]
    fn the_secret_behind_a_folder_is_found() {
        let pod: PodSpec = serde_json::from_value(json!({
            "containers": [{
                "name": "harbormaster",
                "volumeMounts": [{"name": "v", "mountPath": "/etc/secrets/"}],
            }],
            "volumes": [{"name": "v", "secret": {"secretName": "senders"}}],
        }))
        .unwrap();
        let found = mounted_secret(&pod, &pod.containers[0], "/etc/secrets");
        assert_eq!(found.as_deref(), Some("senders"));
        assert_eq!(mounted_secret(&pod, &pod.containers[0], "/etc/other"), None);
    }
}
