//! What a Function has besides its Deployments: of which kinds, where each stands, and whose it is.
//!
//! A new kind is one constant, named in [`ALL`] or in [`crate::platform::Platform::kinds`]; what is wanted of it is decided in [`crate::desired`], and the chart grants the rights.
//! Its objects are untyped from here on, so that all kinds are watched, compared and written by the same code, and a kind whose API comes
//! from another project needs no types of its own.

use std::collections::BTreeMap;

use crds::{function::Function, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::DynamicObject,
    core::{ApiResource, GroupVersionKind},
    runtime::reflector::ObjectRef,
};
use serde::Serialize;
use serde_json::json;

use crate::observe::{Guarded, is_controlled_by, reference};

/// A kind of attachment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kind {
    /// Its API group.
    pub group: &'static str,
    /// The version of it that is written.
    pub version: &'static str,
    /// Its name, as in a manifest.
    pub name: &'static str,
    /// Its name in an address.
    pub plural: &'static str,
    /// Where its objects stand.
    pub home: Home,
    /// Fields of the spec without which the API server would refuse one. They have to be among the wanted ones always: an object is
    /// created with these alone, and then all is applied, so that the apply can take back every other field.
    pub required: &'static [&'static str],
    /// What an object may say besides what was applied.
    pub extra: Extra,
    /// Whether it has to be as wanted before anything runs.
    pub is_guard: bool,
    /// Whether a cluster may lack the API. Then there are none until it comes.
    pub is_optional: bool,
}

/// Where the objects of a kind stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// In the Function's namespace, owned by the Function and removed with it by Kubernetes.
    Function,
    /// In the activator's namespace, where no owner reference to a Function can be: labels name the Function, and the operator removes
    /// what Functions leave behind.
    Activator,
}

/// What may be found in an object besides what was applied, without being drift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extra {
    /// More fields and more items of lists: webhooks add containers and volumes to a pod.
    FieldsAndItems,
    /// More fields: the API server adds defaults.
    Fields,
    /// Nothing.
    Nothing,
}

/// Who may reach the instances of a Function.
pub const NETWORK_POLICY: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    name: "NetworkPolicy",
    plural: "networkpolicies",
    home: Home::Function,
    required: &["podSelector"],
    extra: Extra::Nothing,
    is_guard: true,
    is_optional: false,
};

/// The name of a Function inside the cluster.
pub const SERVICE: Kind = Kind {
    group: "",
    version: "v1",
    name: "Service",
    plural: "services",
    home: Home::Function,
    required: &["type", "externalName"],
    extra: Extra::Fields,
    is_guard: false,
    is_optional: false,
};

/// Custom hosts at an ingress controller.
pub const INGRESS: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    name: "Ingress",
    plural: "ingresses",
    home: Home::Activator,
    required: &["rules"],
    extra: Extra::Fields,
    is_guard: false,
    is_optional: false,
};

/// Custom hosts at a Gateway.
pub const HTTP_ROUTE: Kind = Kind {
    group: "gateway.networking.k8s.io",
    version: "v1",
    name: "HTTPRoute",
    plural: "httproutes",
    home: Home::Activator,
    required: &[],
    extra: Extra::Fields,
    is_guard: false,
    is_optional: true,
};

/// The kinds that there are in every cluster. One that is not wanted any more stays here, so that what there is of it is removed.
pub const ALL: &[Kind] = &[NETWORK_POLICY, SERVICE];

impl Kind {
    /// How the client addresses the kind.
    pub fn resource(self) -> ApiResource {
        let of = GroupVersionKind::gvk(self.group, self.version, self.name);
        ApiResource::from_gvk_with_plural(&of, self.plural)
    }

    /// Its objects in one namespace.
    pub fn api(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }

    /// Whether an object of this kind is the one of `function`, and not of somebody else.
    pub fn is_of(self, object: &DynamicObject, function: &impl Resource) -> bool {
        let meta = function.meta();
        match self.home {
            Home::Function => is_controlled_by(object, function),
            Home::Activator => self.named(object).is_some_and(|(name, namespace)| {
                meta.name.as_deref() == Some(name) && meta.namespace.as_deref() == Some(namespace)
            }),
        }
    }

    /// The Function that the labels of an object of Thaw name.
    pub fn function(self, object: &DynamicObject) -> Option<ObjectRef<Guarded>> {
        let (name, namespace) = self.named(object)?;
        Some(reference(name, Some(namespace)))
    }

    /// Its name and namespace.
    fn named(self, object: &DynamicObject) -> Option<(&str, &str)> {
        let labels = object.labels();
        let is_managed = labels.get(names::MANAGED_BY)? == names::THAW;
        let name = labels.get(names::FUNCTION)?;
        let namespace = match self.home {
            Home::Function => object.metadata.namespace.as_ref()?,
            Home::Activator => labels.get(names::NAMESPACE)?,
        };
        is_managed.then_some((name, namespace))
    }
}

/// One object that a Function should have.
#[derive(Clone, Debug, PartialEq)]
pub struct Attachment {
    /// Its kind.
    pub kind: Kind,
    /// As it is applied.
    pub object: DynamicObject,
    /// Who owns it besides, from its creation on.
    pub owner: Option<OwnerReference>,
}

/// What an attachment says.
#[derive(Clone, Debug)]
pub struct Content<S> {
    /// Name of the object.
    pub name: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its spec.
    pub spec: S,
}

impl Attachment {
    /// The attachment of `function` that says this. `home` is the activator's namespace.
    pub fn new(
        kind: Kind,
        function: &Function,
        home: &str,
        content: Content<impl Serialize>,
    ) -> Self {
        let mut object = DynamicObject::new(&content.name, &kind.resource());
        let labels = names::function_labels(function).map(|(key, value)| (key.to_owned(), value));
        let mut labels = BTreeMap::from(labels);
        let namespace = function.namespace().unwrap_or_default();
        match kind.home {
            Home::Function => {
                let owner = function.controller_owner_ref(&());
                object.metadata.owner_references = owner.map(|owner| vec![owner]);
                object.metadata.namespace = Some(namespace);
            }
            Home::Activator => {
                labels.insert(names::NAMESPACE.to_owned(), namespace);
                object.metadata.namespace = Some(home.to_owned());
            }
        }
        object.metadata.labels = Some(labels);
        let mut annotations = content.annotations;
        object.data = json!({"spec": content.spec});
        let all = json!([object, annotations]).to_string();
        annotations.insert(names::APPLIED.to_owned(), names::hash(all.as_bytes(), 16));
        object.metadata.annotations = Some(annotations);
        Self {
            kind,
            object,
            owner: None,
        }
    }

    /// Name of the object.
    pub fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or_default()
    }

    /// As it is created: what it may not be without.
    pub fn bare(&self) -> DynamicObject {
        let mut bare = self.object.clone();
        bare.metadata.annotations = None;
        let owners = &mut bare.metadata.owner_references;
        *owners = owners.take().or_else(|| Some(vec![self.owner.clone()?]));
        if let Some(spec) = bare.data["spec"].as_object_mut() {
            spec.retain(|field, _| self.kind.required.contains(&field.as_str()));
        }
        bare
    }
}
