//go:build tools

// Package toxiproxy pins the proxy that breaks connections.
package toxiproxy

import _ "github.com/Shopify/toxiproxy/v2/cmd/server"
