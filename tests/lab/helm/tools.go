//go:build tools

// Package helm pins the command that installs charts.
package helm

import _ "helm.sh/helm/v3/cmd/helm"
