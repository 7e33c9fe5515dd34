//! Counters and histograms of one entity, collected when told and stamped with virtual time.

use crate::RecordError;
use crate::timeline::Timeline;
use ntmobile_proto::time::Instant;
use opentelemetry::metrics::{Counter, Histogram, Meter, MeterProvider};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData, ResourceMetrics};
use opentelemetry_sdk::metrics::reader::MetricReader;
use opentelemetry_sdk::metrics::{
    Instrument, InstrumentKind, ManualReader, Pipeline, SdkMeterProvider, Stream, Temporality,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// The instruments of one entity.
pub(crate) struct EntityMeter {
    reader: SharedReader,
    // Holds the pipeline that the reader reads.
    _provider: SdkMeterProvider,
    meter: Meter,
    counters: BTreeMap<&'static str, Counter<u64>>,
    histograms: BTreeMap<&'static str, Histogram<f64>>,
}

impl EntityMeter {
    pub(crate) fn new(resource: Resource) -> Self {
        let reader = SharedReader(Arc::new(ManualReader::default()));
        // An instrument here has one time series, without attributes. The SDK would reserve room for 2,000 of each.
        let one_series = |_: &Instrument| Stream::builder().with_cardinality_limit(1).build().ok();
        let provider = SdkMeterProvider::builder()
            .with_resource(resource)
            .with_reader(reader.clone())
            .with_view(one_series)
            .build();
        let meter = provider.meter_with_scope(crate::span_data::scope());
        Self { reader, _provider: provider, meter, counters: BTreeMap::new(), histograms: BTreeMap::new() }
    }

    pub(crate) fn count(&mut self, name: &'static str, by: u64) -> Result<(), RecordError> {
        if !self.counters.contains_key(name) {
            check_name(name)?;
            self.counters.insert(name, self.meter.u64_counter(name).build());
        }
        if let Some(counter) = self.counters.get(name) {
            counter.add(by, &[]);
        }
        Ok(())
    }

    pub(crate) fn value(&mut self, name: &'static str, unit: &'static str, value: f64) -> Result<(), RecordError> {
        if !self.histograms.contains_key(name) {
            check_name(name)?;
            self.histograms.insert(name, self.meter.f64_histogram(name).with_unit(unit).build());
        }
        if let Some(histogram) = self.histograms.get(name) {
            histogram.record(value, &[]);
        }
        Ok(())
    }

    /// Every counter and how far it is.
    pub(crate) fn counts(&self) -> Result<Vec<(String, u64)>, RecordError> {
        let mut collected = ResourceMetrics::default();
        self.reader.collect(&mut collected).map_err(|error| RecordError::Metrics(error.to_string()))?;
        let metrics = collected.scope_metrics().flat_map(|scope| scope.metrics());
        let counts = metrics.filter_map(|metric| match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => {
                Some((metric.name().to_owned(), sum.data_points().map(|point| point.value()).sum()))
            }
            _ => None,
        });
        Ok(counts.collect())
    }

    /// Everything counted so far as one request, in order of names, cumulative since the origin and as of `at`.
    pub(crate) fn collect(&self, timeline: &Timeline, at: Instant) -> Result<ExportMetricsServiceRequest, RecordError> {
        let mut collected = ResourceMetrics::default();
        self.reader.collect(&mut collected).map_err(|error| RecordError::Metrics(error.to_string()))?;
        let mut request = ExportMetricsServiceRequest::from(&collected);
        for scope in request.resource_metrics.iter_mut().flat_map(|resource| &mut resource.scope_metrics) {
            scope.metrics.sort_by(|left, right| left.name.cmp(&right.name));
            for metric in &mut scope.metrics {
                stamp(&mut metric.data, timeline.epoch_unix_nanos(), timeline.unix_nanos(at));
            }
        }
        Ok(request)
    }
}

/// The SDK has stamped wall-clock times: replaces all of them.
fn stamp(data: &mut Option<Data>, start: u64, end: u64) {
    match data {
        Some(Data::Sum(sum)) => {
            for point in &mut sum.data_points {
                (point.start_time_unix_nano, point.time_unix_nano) = (start, end);
            }
        }
        Some(Data::Histogram(histogram)) => {
            for point in &mut histogram.data_points {
                (point.start_time_unix_nano, point.time_unix_nano) = (start, end);
            }
        }
        // Nothing else is ever made here.
        other => *other = None,
    }
}

/// The SDK answers a name that OpenTelemetry does not allow with an instrument that counts nothing; we say so instead.
fn check_name(name: &'static str) -> Result<(), RecordError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-' | b'/');
    let fine =
        name.len() <= 255 && name.as_bytes().first().is_some_and(u8::is_ascii_alphabetic) && name.bytes().all(allowed);
    if fine { Ok(()) } else { Err(RecordError::InstrumentName { name }) }
}

/// The reader is needed by the provider, which registers it, and by us, who read it.
#[derive(Clone, Debug)]
struct SharedReader(Arc<ManualReader>);

impl MetricReader for SharedReader {
    fn register_pipeline(&self, pipeline: Weak<Pipeline>) {
        self.0.register_pipeline(pipeline);
    }

    fn collect(&self, metrics: &mut ResourceMetrics) -> OTelSdkResult {
        self.0.collect(metrics)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn temporality(&self, kind: InstrumentKind) -> Temporality {
        self.0.temporality(kind)
    }
}
