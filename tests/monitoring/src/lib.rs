//! What `examples/deploy` has for Prometheus and Grafana, held against the diagnosis whose
//! sentences it says, a real storm and a real fleet. Everything is in the tests.
