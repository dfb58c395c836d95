package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

var (
	region    = flag.String("region", "", "rest: for signatures")
	accessKey = flag.String("access-key", "", "rest")
	secretKey = flag.String("secret-key", "", "rest")
	query     = flag.String("query", "", "rest: of reads")
)

// rest calls the REST service of s3db, each client over a connection of its own, each call signed.
func rest(load Load) Call {
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:     load.tls,
		MaxConnsPerHost:     load.clients,
		MaxIdleConnsPerHost: load.clients,
		DisableCompression:  true,
	}}
	signer := v4.NewSigner()
	credentials := aws.Credentials{AccessKeyID: *accessKey, SecretAccessKey: *secretKey}
	return func(_ int, key string) error {
		request, body, err := request(load, hex.EncodeToString([]byte(key)))
		if err != nil {
			return err
		}
		digest := sha256.Sum256(body)
		hash := hex.EncodeToString(digest[:])
		request.Header.Set("x-amz-content-sha256", hash)
		err = signer.SignHTTP(context.Background(), credentials, request, hash, "s3db", *region, time.Now())
		if err != nil {
			return err
		}
		return exchange(client, request)
	}
}

func request(load Load, key string) (*http.Request, []byte, error) {
	if load.operation == "put" {
		request, err := http.NewRequest("POST", load.endpoint+"/v1/put/bench/"+key, bytes.NewReader(load.value))
		return request, load.value, err
	}
	request, err := http.NewRequest("GET", load.endpoint+"/v1/get/bench/"+key, nil)
	if err != nil {
		return nil, nil, err
	}
	request.URL.RawQuery = *query
	if load.operation == "stale" {
		request.URL.RawQuery = "consistency=stale"
	}
	return request, nil, nil
}

func exchange(client *http.Client, request *http.Request) error {
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return err
}
