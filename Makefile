# Everything here works from a fresh checkout: node_modules is installed when it is missing or out of date, and brings
# the Node that the code needs. Nothing else is required but some Node, npm and make.
SHELL := /bin/sh
export PATH := $(CURDIR)/node_modules/.bin:$(PATH)
CLUSTER_CONFIG ?= cluster.toml
SEED ?= 1
BACKEND ?= filesystem
CAMPAIGN_MINUTES ?= 5
INSTALLED := node_modules/.package-lock.json

.DEFAULT_GOAL := help
.PHONY: help run cluster test check e2e crash-mutants e2e-large bench bench-memory bench-s3db bench-keys bench-faults sim sim-many campaign campaign-db campaign-cluster conformance build clean
.PHONY: bench-policy bench-storage kill-node crash-points

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' Makefile | expand -t 14

$(INSTALLED): package.json package-lock.json
	npm ci --no-audit --no-fund
	@touch $(INSTALLED)

WASM := backend/checksums/crc64nvme.wasm backend/distributed/erasure/kernel.wasm
backend/checksums/%.wasm: backend/checksums/assembly/%.ts $(INSTALLED)
	asc $< -o $@ -O3 --runtime stub --noAssert --initialMemory 2
backend/distributed/erasure/%.wasm: backend/distributed/erasure/assembly/%.ts $(INSTALLED)
	asc $< -o $@ -O3 --runtime stub --importMemory --enable simd,relaxed-simd --noAssert

run: $(WASM) ## one process: five shard nodes, a database, S3 on https://127.0.0.1:8443
	bin/s3d -backend distributed -config config/dev.toml

cluster: $(WASM) ## eight processes on this machine from cluster.toml (or CLUSTER_CONFIG)
	node tests/cluster/run.ts $(CLUSTER_CONFIG)

test: $(WASM) ## unit, contract and simulator tests
	vitest run

check: $(WASM) ## types, lint, format, import boundaries, dead code
	tsc -p tsconfig.json
	eslint . --max-warnings 0
	prettier --check .
	npm run --silent boundaries
	npm run --silent dead

e2e: $(WASM) ## real processes and real clients (aws-cli, boto3, AWS SDK, rclone)
	vitest run --config tests/e2e/vitest.config.ts

e2e-large: $(WASM) ## files of up to 1 GB by every client (minutes; not part of CI)
	vitest run --config tests/e2e-large/vitest.config.ts

crash-points: $(WASM) ## stop a simulated machine at every write and sync of log and shard store
	node tests/crash/run.ts

crash-mutants: $(WASM) ## the same with every known bug, each of which must be found
	node tests/crash/run.ts --mutants

kill-node: $(WASM) ## kill -9 a shard node under load, a thousand times (half an hour; not part of CI)
	node tests/campaign/kill_node.ts

sim: $(WASM) ## replay one simulated history of the metadata quorum: make sim SEED=n
	node tests/sim/run.ts --seed $(SEED)

sim-many: $(WASM) ## 2,000 simulated histories on the real driver, and every known bug as a mutant that must be caught
	node tests/sim/run.ts --driver --seeds 2000
	node tests/sim/run.ts --mutants

conformance: $(WASM) ## Ceph's public S3 suite from a checkout of yours: make conformance SUITE=../s3-tests BACKEND=distributed
	node tests/conformance/run.ts --suite $(SUITE) --backend $(BACKEND)

campaign: campaign-db campaign-cluster ## real processes under faults, everything checked: make campaign CAMPAIGN_MINUTES=60

campaign-db: $(WASM) ## the database's part of it: kill, pause, partitions, lost disks; a linearizable history
	node tests/campaign/database.ts --minutes $(CAMPAIGN_MINUTES) --seed $(SEED)

campaign-cluster: $(WASM) ## the whole cluster's part: S3 through all gateways, nodes lost, added and removed; everything whole after
	node tests/campaign/cluster.ts --minutes $(CAMPAIGN_MINUTES) --seed $(SEED)

bench: $(WASM) ## throughput, latency and memory of a cluster, beside this machine's limits
	node tests/bench/run.ts

bench-policy: ## what a bucket policy of 100 statements costs a request; the target is 50 microseconds
	node tests/bench/policy.ts

bench-storage: $(WASM) ## erasure coding, log, shard store, transport, memory: each against its target
	node tests/bench/storage.ts

bench-faults: $(WASM) ## what failures cost: two nodes down, a wiped node filled, a sixth node
	node tests/bench/faults.ts

bench-memory: $(WASM) ## peak memory of each process while 1 GiB and 5 GiB objects go in and out
	node tests/bench/memory.ts

bench-s3db: $(WASM) ## the metadata database beside etcd, where it is installed: latency, throughput, ratios to the targets
	node tests/bench/database.ts

bench-keys: $(WASM) ## the metadata database with 10 million keys: pages, start, join by snapshot (needs 10 GiB of disk)
	node tests/bench/database_keys.ts

build: $(WASM) ## dist/, as the package holds it
	rm -rf dist
	tsc -p tsconfig.build.json
	for f in $(WASM); do mkdir -p dist/$$(dirname $$f) && cp $$f dist/$$f; done

clean: ## everything that was made, but not data/
	rm -rf dist node_modules artifacts $(WASM)
