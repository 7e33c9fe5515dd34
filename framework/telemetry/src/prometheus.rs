//! Counters and distributions in Prometheus's text format, for whoever scrapes a host.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric, metric, number_data_point};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What is shown of one metric: its type, and its samples of all entities.
#[derive(Default)]
struct Family {
    kind: &'static str,
    samples: String,
}

/// Writes what each entity has counted. A metric `dc.registered` is called `ntm_dc_registered_total`, its entity is a label.
pub(crate) fn text(collected: &[(&str, ExportMetricsServiceRequest)]) -> String {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    for (entity, request) in collected {
        let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
        for metric in scopes.flat_map(|scope| &scope.metrics) {
            add(&mut families, entity, metric);
        }
    }
    let mut text = String::new();
    for (name, family) in families {
        put(&mut text, format_args!("# TYPE {name} {}\n{}", family.kind, family.samples));
    }
    text
}

fn add(families: &mut BTreeMap<String, Family>, entity: &str, metric: &Metric) {
    let label = format!("entity=\"{}\"", escape(entity));
    let name = format!("ntm_{}", metric.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
    match &metric.data {
        Some(metric::Data::Sum(sum)) => {
            let name = format!("{name}_total");
            let family = families.entry(name.clone()).or_default();
            family.kind = "counter";
            for point in &sum.data_points {
                match point.value {
                    Some(number_data_point::Value::AsInt(value)) => {
                        put(&mut family.samples, format_args!("{name}{{{label}}} {value}\n"));
                    }
                    Some(number_data_point::Value::AsDouble(value)) => {
                        put(&mut family.samples, format_args!("{name}{{{label}}} {value}\n"));
                    }
                    None => {}
                }
            }
        }
        Some(metric::Data::Histogram(histogram)) => {
            let name =
                if metric.unit.is_empty() { name } else { format!("{name}_{}", metric.unit.replace('/', "_per_")) };
            let family = families.entry(name.clone()).or_default();
            family.kind = "histogram";
            for point in &histogram.data_points {
                add_distribution(&mut family.samples, &name, &label, point);
            }
        }
        // Nothing else is ever made here.
        _ => {}
    }
}

fn add_distribution(samples: &mut String, name: &str, label: &str, point: &HistogramDataPoint) {
    let mut below = 0;
    for (bound, count) in point.explicit_bounds.iter().zip(&point.bucket_counts) {
        below += count;
        put(samples, format_args!("{name}_bucket{{{label},le=\"{bound}\"}} {below}\n"));
    }
    put(samples, format_args!("{name}_bucket{{{label},le=\"+Inf\"}} {}\n", point.count));
    put(samples, format_args!("{name}_sum{{{label}}} {}\n", point.sum.unwrap_or_default()));
    put(samples, format_args!("{name}_count{{{label}}} {}\n", point.count));
}

fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn put(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.write_fmt(what).expect("text takes any text");
}

#[cfg(test)]
mod tests {
    use crate::{Recorder, Timeline};
    use ntmobile_proto::time::UnixTime;

    #[test]
    fn counters_of_all_entities_stand_under_one_name_and_distributions_add_up() {
        let recorder = Recorder::counting(Timeline::open_ended(UnixTime(1_000_000_000)).expect("an epoch"));
        recorder.count("dc.u1.example", "dc.registered", 2);
        recorder.count("dc.u1.example", "dc.registered", 1);
        recorder.count("a\"b", "dc.registered", 5);
        recorder.value("dc.u1.example", "login.time", "ms", 3.0);
        recorder.value("dc.u1.example", "login.time", "ms", 30.0);
        let text = recorder.prometheus().expect("metrics");
        let counters = "# TYPE ntm_dc_registered_total counter\n\
            ntm_dc_registered_total{entity=\"a\\\"b\"} 5\n\
            ntm_dc_registered_total{entity=\"dc.u1.example\"} 3\n";
        assert!(text.starts_with(counters), "{text}");
        for line in [
            "# TYPE ntm_login_time_ms histogram",
            "ntm_login_time_ms_bucket{entity=\"dc.u1.example\",le=\"5\"} 1",
            "ntm_login_time_ms_bucket{entity=\"dc.u1.example\",le=\"50\"} 2",
            "ntm_login_time_ms_bucket{entity=\"dc.u1.example\",le=\"+Inf\"} 2",
            "ntm_login_time_ms_sum{entity=\"dc.u1.example\"} 33",
            "ntm_login_time_ms_count{entity=\"dc.u1.example\"} 2",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }
}
