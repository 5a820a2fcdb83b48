#![doc = include_str!("../README.md")]

/// The HorizontalPodAutoscaler.
pub const HPA: &str = include_str!("../hpa.yaml");

/// The rule that offers the metric to it.
pub const ADAPTER: &str = include_str!("../prometheus-adapter.yaml");

/// The same for KEDA.
pub const SCALED_OBJECT: &str = include_str!("../scaledobject.yaml");
