// A TCP proxy that delays what servers answer, and counts connections and HTTP requests.
//
// Usage: latency_proxy TARGET.  It prints the port it listens on.  Each line on its standard input is a delay in
// milliseconds: from then on it holds, and the counts so far are printed as "CONNECTIONS REQUESTS" and start anew.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

var delay, connections, requests atomic.Int64
var methods = [][]byte{[]byte("GET "), []byte("POST "), []byte("PUT "), []byte("PATCH "), []byte("HEAD "), []byte("DELETE ")}

type piece struct {
	due  time.Time
	data []byte
}

func forward(from, to net.Conn, answer bool) {
	pieces := make(chan piece, 64)
	go func() {
		defer close(pieces)
		for {
			data := make([]byte, 256<<10)
			n, err := from.Read(data)
			if n > 0 {
				due := time.Now()
				if answer {
					due = due.Add(time.Duration(delay.Load()))
				} else {
					for _, method := range methods {
						if bytes.HasPrefix(data[:n], method) {
							requests.Add(1)
						}
					}
				}
				pieces <- piece{due, data[:n]}
			}
			if err != nil {
				return
			}
		}
	}()
	for p := range pieces {
		if wait := time.Until(p.due); wait > 0 {
			time.Sleep(wait)
		}
		if _, err := to.Write(p.data); err != nil {
			break
		}
	}
	to.(*net.TCPConn).CloseWrite()
	for range pieces {
	}
}

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				server, err := net.Dial("tcp", os.Args[1])
				if err != nil {
					client.Close()
					return
				}
				go forward(client, server, false)
				forward(server, client, true)
				client.Close()
				server.Close()
			}()
		}
	}()
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		milliseconds, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
		if err != nil {
			panic(err)
		}
		delay.Store(int64(milliseconds) * int64(time.Millisecond))
		fmt.Println(connections.Swap(0), requests.Swap(0))
	}
}
