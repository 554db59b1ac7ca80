// A container for tests: it serves, asks, looks names up and writes files, and needs nothing else in its image.
package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

const authority = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"

func main() {
	words := map[string]func(string) error{"serve": serve, "get": get, "lookup": lookup, "write": write, "fill": fill}
	do, known := words[os.Args[1]]
	if !known {
		log.Fatalf("no such word: %s", os.Args[1])
	}
	if err := do(os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func serve(address string) error {
	http.HandleFunc("/", func(answer http.ResponseWriter, asked *http.Request) {
		log.Printf("asked for %s", asked.URL.Path)
		if asked.URL.Path == "/never" {
			answer.WriteHeader(http.StatusServiceUnavailable)
		}
		name, _ := os.Hostname()
		fmt.Fprintf(answer, "this is %s\n", name)
	})
	log.Printf("listening on %s", address)
	return http.ListenAndServe(address, nil)
}

func get(url string) error {
	var roots *x509.CertPool // those that every program in the container trusts
	if strings.Contains(url, ".svc/") {
		pem, _ := os.ReadFile(authority)
		roots = x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
	}
	way := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	answer, err := (&http.Client{Transport: way, Timeout: 10 * time.Second}).Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func lookup(name string) error {
	addresses, err := net.LookupHost(name)
	fmt.Println(addresses)
	return err
}

func write(path string) error {
	return os.WriteFile(path, []byte("written"), 0o600)
}

// fill keeps so many MiB of memory that are written to.
func fill(mebibytes string) error {
	count, err := strconv.Atoi(mebibytes)
	held := make([][]byte, count)
	for i := range held {
		held[i] = bytes.Repeat([]byte{1}, 1<<20)
	}
	fmt.Println(len(held))
	return err
}
