package main

import (
	"context"
	"log"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Clients share this many connections at most, as HTTP/2 lets them.
const maxConnections = 16

// etcd calls through etcd's own client.
func etcd(load Load) Call {
	connections := make([]*clientv3.Client, min(load.clients, maxConnections))
	for i := range connections {
		client, err := clientv3.New(clientv3.Config{
			Endpoints:   []string{load.endpoint},
			DialTimeout: 5 * time.Second,
			TLS:         load.tls,
		})
		if err != nil {
			log.Fatal(err)
		}
		if _, err := client.Get(context.Background(), "warm", clientv3.WithSerializable()); err != nil {
			log.Fatal(err)
		}
		connections[i] = client
	}
	return func(c int, key string) error {
		client := connections[c%len(connections)]
		var err error
		switch load.operation {
		case "put":
			_, err = client.Put(context.Background(), key, string(load.value))
		case "get":
			_, err = client.Get(context.Background(), key)
		case "stale":
			_, err = client.Get(context.Background(), key, clientv3.WithSerializable())
		default:
			log.Fatalf("no operation %q", load.operation)
		}
		return err
	}
}
