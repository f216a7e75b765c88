package web

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the gateway's Prometheus metrics. Every label value comes from a
// closed set of ours or from the configuration: a label that a caller chooses
// would let him fill our memory.
type Metrics struct {
	registry       *prometheus.Registry
	exchanges      *prometheus.CounterVec
	elapsed        prometheus.Histogram
	fsync          prometheus.Histogram
	fsyncFailed    prometheus.Counter
	policyRejected prometheus.Counter
	fetches        *prometheus.CounterVec
	rollbacks      *prometheus.CounterVec
	reservations   *prometheus.CounterVec
}

// Gauges are read when the metrics are.
type Gauges struct {
	RememberedTokens func() int
	Trusts           func() int
}

// NewMetrics returns metrics in a registry of their own.
func NewMetrics(g Gauges) *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		exchanges: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cambio_exchanges_total", Help: "Answers of the token endpoint by code and reason.",
		}, []string{"code", "reason"}),
		elapsed: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cambio_exchange_seconds", Help: "Time to answer a token request.",
			Buckets: []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, 1, 5},
		}),
		fsync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cambio_journal_fsync_seconds", Help: "Time of a journal fsync.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .05, .25, 1},
		}),
		fsyncFailed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cambio_journal_failures_total", Help: "Journal writes or fsyncs that failed; each one makes the gateway refuse until a write succeeds.",
		}),
		policyRejected: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "cambio_policy_rejected_total", Help: "Changes of the trust folder that did not load; the old policy stayed.",
		}),
		fetches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cambio_key_set_fetches_total", Help: "Key set fetches by identity provider and result.",
		}, []string{"provider", "result"}),
		rollbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cambio_bundle_rollbacks_total", Help: "Trust bundles refused because they are older than the one in force, by identity provider.",
		}, []string{"provider"}),
		reservations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "cambio_reservations_total", Help: "Answers of the shared replay store: allowed, used, not-yet, restarted or error.",
		}, []string{"result"}),
	}
	m.registry.MustRegister(m.exchanges, m.elapsed, m.fsync, m.fsyncFailed, m.policyRejected, m.fetches, m.rollbacks, m.reservations,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cambio_remembered_tokens", Help: "Used tokens that are remembered."},
			func() float64 { return float64(g.RememberedTokens()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "cambio_trusts", Help: "Trusts in the policy in force."},
			func() float64 { return float64(g.Trusts()) }))
	return m
}

// Exchanged counts one answer of the token endpoint.
func (m *Metrics) Exchanged(o Outcome) {
	m.exchanges.WithLabelValues(o.Code, o.Reason).Inc()
	m.elapsed.Observe(o.Elapsed.Seconds())
}

// Reserved counts one answer of the shared replay store.
func (m *Metrics) Reserved(result string) { m.reservations.WithLabelValues(result).Inc() }

// Synced counts one fsync of the journal.
func (m *Metrics) Synced(d time.Duration, err error) {
	if err != nil {
		m.fsyncFailed.Inc()
		return
	}
	m.fsync.Observe(d.Seconds())
}

// PolicyRejected counts one change of the trust folder that did not load.
func (m *Metrics) PolicyRejected() { m.policyRejected.Inc() }

// Fetched counts one key set fetch. result must come from a closed set.
func (m *Metrics) Fetched(provider, result string) { m.fetches.WithLabelValues(provider, result).Inc() }

// RolledBack counts one trust bundle that is older than the one in force.
func (m *Metrics) RolledBack(provider string) { m.rollbacks.WithLabelValues(provider).Inc() }

func (m *Metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}
