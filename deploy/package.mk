# What makes packages: make install, deb, release, lint. Included by Makefile.
.PHONY: manifests install uninstall deb release lint deploy-test tools-kept changelog

PREFIX ?= /usr/local
DESTDIR ?=
TO ?= dist
# Where zsh looks: packages have a folder of their own.
ZSH = zsh/$(if $(filter /usr,$(PREFIX)),vendor-completions,site-functions)
# Of CHANGELOG.md's newest release; what is between releases has the number of the last one, and tells its commit.
VERSION ?= $(or $(shell sed -n 's/^\#\# \([0-9][^ ]*\).*/\1/p' CHANGELOG.md | head -n 1),devel)
LDFLAGS = -X brokerd/protocol/release.number=$(VERSION)
EPOCH = $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

# Tools that others keep, by their versions. They are programs, no part of the module.
NFPM = github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.43.4
HELM = helm.sh/helm/v3/cmd/helm@v3.22.0
KUBECTL_VALIDATE = sigs.k8s.io/kubectl-validate@v0.0.4
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK = golang.org/x/vuln/cmd/govulncheck@latest
SBOM = github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
KEPT := $(CURDIR)/bin/tools
# Where a kept tool is: on PATH, or else made into bin/tools.
kept = command -v $(1) 2>/dev/null || { [ -x "$(KEPT)/$(1)" ] || GOBIN="$(KEPT)" go install $(2) >&2 || { echo "$(1) cannot be had: go install $(2)" >&2; exit 1; }; echo "$(KEPT)/$(1)"; }

# The programs, their manual pages and brokerctl's completions, below $(DESTDIR)$(PREFIX) (/usr/local).
install: build
	@to="$(DESTDIR)$(PREFIX)"
	install -d "$$to/bin" "$$to/share/man/man1" "$$to/share/bash-completion/completions" "$$to/share/$(ZSH)" \
	  "$$to/share/fish/vendor_completions.d" "$$to/share/doc/brokerd"
	install -m 0755 bin/brokerd bin/lookupd bin/admind bin/brokerctl "$$to/bin/"
	bin/brokerctl man "$$to/share/man/man1" bin/brokerd bin/lookupd bin/admind
	gzip -9nf "$$to"/share/man/man1/{brokerctl*,brokerd,lookupd,admind}.1
	bin/brokerctl completion bash > "$$to/share/bash-completion/completions/brokerctl"
	bin/brokerctl completion zsh > "$$to/share/$(ZSH)/_brokerctl"
	bin/brokerctl completion fish > "$$to/share/fish/vendor_completions.d/brokerctl.fish"
	install -m 0644 LICENSE CHANGELOG.md "$$to/share/doc/brokerd/"
	echo "installed below $$to"

# Takes away what make install puts there.
uninstall:
	@to="$(DESTDIR)$(PREFIX)"
	rm -f "$$to"/bin/{brokerd,lookupd,admind,brokerctl} "$$to"/share/man/man1/{brokerctl*,brokerd,lookupd,admind}.1.gz \
	  "$$to/share/bash-completion/completions/brokerctl" "$$to/share/$(ZSH)/_brokerctl" \
	  "$$to/share/fish/vendor_completions.d/brokerctl.fish"
	rm -rf "$$to/share/doc/brokerd"

# A Debian package of this machine's kind, dist/brokerd_VERSION_ARCH.deb, with nfpm. The same commit gives the same bytes.
deb:
	@nfpm=$$($(call kept,nfpm,$(NFPM)))
	export CGO_ENABLED=0 ARCH=$$(go env GOARCH) VERSION="$(VERSION)" SOURCE_DATE_EPOCH="$(EPOCH)"
	case "$$VERSION" in [0-9]*) ;; *) VERSION="0~$$VERSION" ;; esac # dpkg wants a number first
	export STAGE="$$PWD/dist/stage"
	rm -rf "$$STAGE"
	mkdir -p "$(TO)"
	$(MAKE) --no-print-directory install DESTDIR="$$STAGE" PREFIX=/usr LDFLAGS="$(LDFLAGS) -s -w" >/dev/null
	"$$nfpm" package --config deploy/deb/nfpm.yaml --packager deb --target "$(TO)/brokerd_$${VERSION}_$$ARCH.deb"
	rm -rf "$$STAGE"

# The release's files in dist/: an archive for each system, checksums, and what is in the programs (SBOM). Made twice, the second time of a
# fresh clone with an empty cache; it fails when one byte differs. Only linux on this machine's processor is run by the tests: the others
# are built and vetted. Windows has brokerctl only, since it cannot sync a folder, on which what the daemons promise rests.
PLATFORMS ?= linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64 windows/arm64
release:
	@[ -z "$$(git status --porcelain)" ] || { echo 'a release is made of a clean tree: commit first' >&2; exit 1; }
	[[ "$(VERSION)" == [0-9]* ]] || { echo 'CHANGELOG.md has no release: make changelog VERSION=0.9.0' >&2; exit 1; }
	sbom=$$($(call kept,cyclonedx-gomod,$(SBOM)))
	rm -rf dist/one dist/two
	archives() { # of the tree here, into a folder
	  $(MAKE) --no-print-directory build >/dev/null
	  for platform in $(PLATFORMS); do
	    os=$${platform%/*} arch=$${platform#*/} name=brokerd-$(VERSION)-$${platform//\//-}
	    packages=(./cmd/brokerd ./cmd/lookupd ./cmd/admind ./apps/brokerctl)
	    [ $$os != windows ] || packages=(./apps/brokerctl)
	    mkdir -p "$$1/$$name"
	    CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -trimpath -buildvcs=true -ldflags "$(LDFLAGS) -s -w" -o "$$1/$$name/" "$${packages[@]}"
	    cp LICENSE README.md CHANGELOG.md "$$1/$$name/"
	    if [ $$os != windows ]; then
	      mkdir "$$1/$$name/man"
	      bin/brokerctl man "$$1/$$name/man" bin/brokerd bin/lookupd bin/admind
	    fi
	    tar -C "$$1" --sort=name --owner=0 --group=0 --numeric-owner --mode=go-w --mtime=@$(EPOCH) -cf - "$$name" | gzip -9n > "$$1/$$name.tar.gz"
	    rm -rf "$${1:?}/$$name"
	  done
	}
	here=$$PWD
	archives "$$here/dist/one"
	clone=$$(mktemp -d)
	trap 'rm -rf "$$clone"' EXIT
	git clone -q . "$$clone/elsewhere"
	cd "$$clone/elsewhere"
	GOCACHE="$$clone/cache" archives "$$here/dist/two"
	cd "$$here"
	diff -r dist/one dist/two || { echo 'the two builds differ' >&2; exit 1; }
	mv dist/one/* dist/
	rm -rf dist/one dist/two
	for program in cmd/brokerd cmd/lookupd cmd/admind apps/brokerctl; do
	  "$$sbom" app -json -licenses -noserial -main "$$program" -output "dist/$${program#*/}-$(VERSION).cdx.json" 2>/dev/null
	  sed -i "s/\"timestamp\": \"[^\"]*\"/\"timestamp\": \"$$(date -u -d @$(EPOCH) +%Y-%m-%dT%H:%M:%SZ)\"/" "dist/$${program#*/}-$(VERSION).cdx.json"
	done
	(cd dist && sha256sum *.tar.gz *.cdx.json > SHA256SUMS)
	echo 'built twice, the same bytes; run here: linux on this processor only'
	ls -l dist

# Moves the fragments of changes/ under a heading of CHANGELOG.md, by program: make changelog VERSION=0.9.0.
changelog:
	@[[ "$(VERSION)" == [0-9]* ]] || { echo 'which release? make changelog VERSION=0.9.0' >&2; exit 2; }
	! grep -q '^## $(VERSION) ' CHANGELOG.md || { echo 'CHANGELOG.md has $(VERSION) already' >&2; exit 1; }
	files=()
	for file in changes/*.md; do [ "$$file" = changes/README.md ] || files+=("$$file"); done
	[ "$${#files[@]}" -gt 0 ] || { echo 'there are no fragments in changes/' >&2; exit 1; }
	release=$$(mktemp)
	trap 'rm -f "$$release" CHANGELOG.md.new' EXIT
	printf '## %s (%s)\n\n' "$(VERSION)" "$$(date -u +%Y-%m-%d)" > "$$release"
	awk -f deploy/changelog.awk "$${files[@]}" >> "$$release"
	awk -v release="$$release" '
	  function put() { while ((getline line < release) > 0) print line; done = 1 }
	  /^There is no release yet/ { put(); next }
	  /^## / && !done { put(); print "" }
	  { print }
	  END { if (!done) { print ""; put() } }' CHANGELOG.md > CHANGELOG.md.new
	mv CHANGELOG.md.new CHANGELOG.md
	rm "$${files[@]}"
	cp deploy/kubernetes/brokerd.yaml "cmd/deploytest/testdata/released/$(VERSION).yaml" # upgrades from it are tested from now on
	echo 'CHANGELOG.md has $(VERSION): read it over, then commit'

# Format, vet for every system that there are archives for, staticcheck, an untidy go.mod, and known vulnerabilities where their list can
# be reached.
lint:
	@bad=$$(gofmt -l .)
	[ -z "$$bad" ] || { echo "gofmt these files: $$bad" >&2; exit 1; }
	go mod tidy -diff
	go vet ./...
	GOOS=darwin go vet ./...
	GOOS=windows go vet ./apps/... ./protocol/... ./cmd/cmdkit ./cmd/child
	"$$($(call kept,staticcheck,$(STATICCHECK)))" ./...
	if curl -sfI -m 10 https://vuln.go.dev/index/modules.json >/dev/null; then
	  "$$($(call kept,govulncheck,$(GOVULNCHECK)))" ./...
	else
	  echo 'NOT RUN: govulncheck, as its list of vulnerabilities cannot be reached' >&2
	fi

# deploy/kubernetes, of the chart.
manifests:
	@PATH="$(KEPT):$$PATH" go test -count=1 ./cmd/deploytest -run TestPlainManifestsAreTheCharts -update

# Tools that the tests of deploy/ want, into bin/tools.
tools-kept:
	@echo "$$($(call kept,nfpm,$(NFPM))) $$($(call kept,helm,$(HELM))) $$($(call kept,kubectl-validate,$(KUBECTL_VALIDATE)))"

# What is in deploy/, with all that its tests want: the package's life as root in a system of its own, units, manifests, the chart. The package is
# upgraded from one of the same commit, or of OLD, an earlier one.
OLD ?=
deploy-test: tools-kept
	@rm -rf dist/test
	here=$$PWD
	if [ -n "$(OLD)" ]; then
	  old=$$(mktemp -d)
	  trap 'git worktree remove --force "$$old/tree"; rm -rf "$$old"' EXIT
	  git worktree add -q --detach "$$old/tree" "$(OLD)"
	  PATH="$(KEPT):$$PATH" $(MAKE) --no-print-directory -C "$$old/tree" deb VERSION=0.0.1 TO="$$here/dist/test"
	else
	  $(MAKE) --no-print-directory deb VERSION=0.0.1 TO=dist/test
	fi
	$(MAKE) --no-print-directory deb VERSION=0.0.2 TO=dist/test
	DEPLOY_DEBS="$$(echo dist/test/*.deb)" PATH="$(KEPT):$$PATH" go test -count=1 -timeout=20m -v ./cmd/deploytest
