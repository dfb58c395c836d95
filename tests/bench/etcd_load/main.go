// Load on etcd for `make bench-s3db`, through etcd's own client so that the generator is not what is measured.
// It asks the members that it is given (the leader, for a fair comparison) and prints one line of JSON.
package main

import (
	"context"
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

	clientv3 "go.etcd.io/etcd/client/v3"
)

func main() {
	endpoints := flag.String("endpoints", "", "comma-separated https URLs")
	ca := flag.String("ca", "", "PEM file")
	operation := flag.String("operation", "put", "put, get or stale")
	clients := flag.Int("clients", 1, "calls at a time")
	connections := flag.Int("connections", 16, "at most")
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
	conns := make([]*clientv3.Client, min(*clients, *connections))
	for i := range conns {
		conns[i], err = clientv3.New(clientv3.Config{
			Endpoints:   strings.Split(*endpoints, ","),
			DialTimeout: 5 * time.Second,
			TLS:         &tls.Config{RootCAs: pool},
		})
		if err != nil {
			log.Fatal(err)
		}
		if _, err := conns[i].Get(context.Background(), "warm", clientv3.WithSerializable()); err != nil {
			log.Fatal(err)
		}
	}
	value := strings.Repeat("\x07", *valueBytes)
	var group sync.WaitGroup
	latencies := make([][]float64, *clients)
	start := time.Now()
	end := start.Add(time.Duration(*seconds * float64(time.Second)))
	for c := 0; c < *clients; c++ {
		group.Add(1)
		go func() {
			defer group.Done()
			client := conns[c%len(conns)]
			for n := c; time.Now().Before(end); n += *clients {
				key := fmt.Sprintf("key-%028d", n%*keys)
				began := time.Now()
				var err error
				switch *operation {
				case "put":
					_, err = client.Put(context.Background(), key, value)
				case "get":
					_, err = client.Get(context.Background(), key)
				case "stale":
					_, err = client.Get(context.Background(), key, clientv3.WithSerializable())
				default:
					log.Fatalf("no operation %q", *operation)
				}
				if err != nil {
					log.Fatal(err)
				}
				latencies[c] = append(latencies[c], float64(time.Since(began).Microseconds())/1000)
			}
		}()
	}
	group.Wait()
	elapsed := time.Since(start).Seconds()
	var all []float64
	for _, some := range latencies {
		all = append(all, some...)
	}
	sort.Float64s(all)
	at := func(q float64) float64 { return all[int(float64(len(all)-1)*q)] }
	json.NewEncoder(os.Stdout).Encode(map[string]float64{
		"calls": float64(len(all)), "perSecond": float64(len(all)) / elapsed, "p50Ms": at(0.5), "p99Ms": at(0.99),
	})
}
