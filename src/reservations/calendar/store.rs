//! The one writer of HostCalendars: every write is a compare-and-swap.
//!
//! A calendar belongs to the host that it was made for, so that the cluster's garbage
//! collector takes it when the host goes; one of a predecessor of the same name counts for
//! nothing, and is made anew. Called by the controller.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ObjectMeta, PostParams, Preconditions},
    discovery::ApiResource,
};
use metal3::BareMetalHost;

use crate::{
    api::calendar::{HostCalendar, HostCalendarStatus},
    reservations::host::{ApiError, within_deadline},
};

/// Reads and writes calendars.
#[derive(Clone, Debug)]
pub struct CalendarStore {
    calendars: Api<HostCalendar>,
    host_resource: ApiResource,
}

impl CalendarStore {
    /// The calendars of one namespace, for hosts of the kind `host_resource`.
    pub fn new(calendars: Api<HostCalendar>, host_resource: ApiResource) -> Self {
        Self {
            calendars,
            host_resource,
        }
    }

    /// The calendar of a host, as it is stored now.
    pub async fn read(&self, host: &str) -> Result<Option<HostCalendar>, ApiError> {
        match within_deadline(self.calendars.get_opt(host)).await {
            Err(ApiError::Kube(kube::Error::SerdeError(error))) if error.is_data() => {
                Err(ApiError::Unreadable {
                    object: format!("HostCalendar {host}"),
                    why: error.to_string(),
                })
            }
            other => other,
        }
    }

    /// Removes the calendar of a predecessor of this host, which bore the same name.
    pub async fn discard(&self, calendar: &HostCalendar) -> Result<(), ApiError> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                uid: calendar.uid(),
                resource_version: calendar.resource_version(),
            }),
            ..DeleteParams::default()
        };
        let name = calendar.name_any();
        within_deadline(self.calendars.delete(&name, &params)).await?;
        Ok(())
    }

    /// Writes over what was read, if it still is what is stored. `None` was read where there
    /// is no calendar yet: whoever creates it first wins.
    pub async fn write(
        &self,
        host: &str,
        read: Option<&HostCalendar>,
        owner: Option<&BareMetalHost>,
        status: &HostCalendarStatus,
    ) -> Result<(), ApiError> {
        match read {
            Some(read) => self.replace(read, status).await?,
            None => {
                let new = HostCalendar {
                    metadata: ObjectMeta {
                        name: Some(host.to_owned()),
                        owner_references: owner.map(|owner| vec![self.owned_by(owner)]),
                        ..ObjectMeta::default()
                    },
                    ..HostCalendar::default()
                };
                let params = PostParams::default();
                let created = within_deadline(self.calendars.create(&params, &new)).await?;
                self.replace(&created, status).await?
            }
        };
        Ok(())
    }

    /// The same over one that is there; gives back what is stored now.
    pub async fn replace(
        &self,
        read: &HostCalendar,
        status: &HostCalendarStatus,
    ) -> Result<HostCalendar, ApiError> {
        let mut calendar = read.clone();
        calendar.status = Some(status.clone());
        let (name, params) = (read.name_any(), PostParams::default());
        within_deadline(self.calendars.replace_status(&name, &params, &calendar)).await
    }

    fn owned_by(&self, host: &BareMetalHost) -> OwnerReference {
        OwnerReference {
            api_version: self.host_resource.api_version.clone(),
            kind: self.host_resource.kind.clone(),
            name: host.name().to_owned(),
            uid: host.uid().unwrap_or_default(),
            ..OwnerReference::default()
        }
    }
}

/// Whether a calendar was made for another host than this one.
pub fn is_predecessors(calendar: &HostCalendar, host: &BareMetalHost) -> bool {
    let owners = calendar.meta().owner_references.iter().flatten();
    let mut owners = owners.filter(|owner| owner.name == host.name());
    owners.any(|owner| Some(&owner.uid) != host.meta().uid.as_ref())
}
