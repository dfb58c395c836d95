// The load of `make bench-s3db` on etcd and on the REST service of s3db. One generator for both, in a process and a language
// of its own, so that what is compared is the servers. It prints one line of JSON.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"sort"
	"strings"
	"sync"
	"time"
)

// Call makes one call, of client c with the key.
type Call func(c int, key string) error

type Load struct {
	endpoint  string
	tls       *tls.Config
	operation string
	clients   int
	value     []byte
}

func main() {
	target := flag.String("target", "", "etcd or rest")
	endpoint := flag.String("endpoint", "", "https URL of the member that leads")
	ca := flag.String("ca", "", "PEM file")
	serverName := flag.String("server-name", "", "in its certificate, if it isn't the host")
	operation := flag.String("operation", "put", "put, get or stale")
	clients := flag.Int("clients", 1, "each makes one call at a time")
	seconds := flag.Float64("seconds", 3, "of load")
	keys := flag.Int("keys", 5000, "distinct")
	valueBytes := flag.Int("value-bytes", 256, "")
	flag.Parse()

	pem, err := os.ReadFile(*ca)
	if err != nil {
		log.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	load := Load{
		endpoint:  *endpoint,
		tls:       &tls.Config{RootCAs: pool, ServerName: *serverName},
		operation: *operation,
		clients:   *clients,
		value:     []byte(strings.Repeat("\x07", *valueBytes)),
	}
	var call Call
	switch *target {
	case "etcd":
		call = etcd(load)
	case "rest":
		call = rest(load)
	default:
		log.Fatalf("no target %q", *target)
	}
	report(run(call, *clients, *keys, time.Duration(*seconds*float64(time.Second))))
}

// run makes calls until the time is over, and gives the milliseconds that each took and those of all.
func run(call Call, clients, keys int, during time.Duration) ([]float64, float64) {
	var group sync.WaitGroup
	latencies := make([][]float64, clients)
	start := time.Now()
	end := start.Add(during)
	for c := range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := c; time.Now().Before(end); n += clients {
				began := time.Now()
				if err := call(c, fmt.Sprintf("key-%028d", n%keys)); err != nil {
					log.Fatal(err)
				}
				latencies[c] = append(latencies[c], milliseconds(time.Since(began)))
			}
		}()
	}
	group.Wait()
	elapsed := milliseconds(time.Since(start))
	var all []float64
	for _, some := range latencies {
		all = append(all, some...)
	}
	return all, elapsed
}

func report(latencies []float64, elapsed float64) {
	sort.Float64s(latencies)
	at := func(q float64) float64 { return latencies[int(float64(len(latencies)-1)*q)] }
	calls := float64(len(latencies))
	figures := map[string]float64{
		"calls": calls, "perSecond": calls * 1000 / elapsed, "p50Ms": at(0.5), "p99Ms": at(0.99),
	}
	if err := json.NewEncoder(os.Stdout).Encode(figures); err != nil {
		log.Fatal(err)
	}
}

func milliseconds(d time.Duration) float64 {
	return float64(d.Microseconds()) / 1000
}
