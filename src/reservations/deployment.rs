//! What is put on a disk, and what of it is on a host: an image, or the operator's own way
//! of deploying. Pure; shared by the decisions and by the writer of hosts.

use metal3::BareMetalHost;

use crate::api::v1::{AppliedImage, CustomDeploy, Image, Reservation};

/// What is put on a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// An image.
    Image(Image),
    /// A procedure that the operator knows.
    Method(CustomDeploy),
}

impl Deployment {
    /// What a reservation asks for; the site's image where it doesn't say.
    pub fn of(reservation: &Reservation, default: &Image) -> Self {
        let asked = reservation.spec.provisioning.as_ref();
        if let Some(method) = asked.and_then(|asked| asked.custom_deploy.clone()) {
            return Self::Method(method);
        }
        let image = asked.and_then(|asked| asked.image.clone());
        Self::Image(image.unwrap_or_else(|| default.clone()))
    }

    /// How it is recorded.
    pub fn applied(&self) -> AppliedImage {
        match self {
            Self::Image(image) => AppliedImage {
                url: image.url.clone(),
                custom_deploy: None,
            },
            Self::Method(method) => AppliedImage {
                url: String::new(),
                custom_deploy: Some(method.method.clone()),
            },
        }
    }
}

/// What the host is asked to carry.
pub fn wanted(host: &BareMetalHost) -> Option<AppliedImage> {
    let method = host.spec.custom_deploy.as_ref();
    applied(
        host.wanted_image_url(),
        method.map(|deploy| deploy.method.as_str()),
    )
}

/// Whether a host that nobody has is asked to carry something: anything but the image of free hosts.
pub fn has_leftover(host: &BareMetalHost, free_image: Option<&str>) -> bool {
    let image = host.wanted_image_url();
    image.is_some_and(|url| Some(url) != free_image) || host.spec.custom_deploy.is_some()
}

/// What is on the host's disk.
pub fn deployed(host: &BareMetalHost) -> Option<AppliedImage> {
    let status = host.status.as_ref();
    let method = status.and_then(|status| status.provisioning.custom_deploy.as_ref());
    applied(
        host.deployed_image_url(),
        method.map(|deploy| deploy.method.as_str()),
    )
}

/// Whether the host carries anything that was put there for this reservation.
pub fn is_marked(host: &BareMetalHost, reservation: &Reservation) -> bool {
    wanted(host).is_some()
        || host.spec.user_data.is_some()
        || has_our_network_data(host, reservation)
        || has_our_meta_data(host, reservation)
}

/// The network data that this reservation brought, and not the admin's own.
pub fn has_our_network_data(host: &BareMetalHost, reservation: &Reservation) -> bool {
    let asked = reservation.spec.provisioning.as_ref();
    let ours = asked.and_then(|asked| asked.network_data_secret_ref.as_ref());
    let there = host.spec.network_data.as_ref();
    ours.is_some_and(|ours| {
        there.and_then(|there| there.name.as_deref()) == Some(ours.name.as_str())
    })
}

/// The same for metadata.
pub fn has_our_meta_data(host: &BareMetalHost, reservation: &Reservation) -> bool {
    let asked = reservation.spec.provisioning.as_ref();
    let ours = asked.and_then(|asked| asked.meta_data_secret_ref.as_ref());
    let there = host.spec.meta_data.as_ref();
    ours.is_some_and(|ours| {
        there.and_then(|there| there.name.as_deref()) == Some(ours.name.as_str())
    })
}

fn applied(url: Option<&str>, method: Option<&str>) -> Option<AppliedImage> {
    let method = method.filter(|method| !method.is_empty());
    if url.is_none() && method.is_none() {
        return None;
    }
    Some(AppliedImage {
        url: url.unwrap_or_default().to_owned(),
        custom_deploy: method.map(str::to_owned),
    })
}
