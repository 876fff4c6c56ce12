// The commands of SPIRE's own server command line that are about authorities, unmodified: its packages, under the names that
// cmd/spire-server/cli/cli.go gives them. The whole of spire-server needs modules that registries do not serve.
package main

import (
	"fmt"
	"os"

	"github.com/mitchellh/cli"
	jwt "github.com/spiffe/spire/cmd/spire-server/cli/localauthority/jwt"
	x509 "github.com/spiffe/spire/cmd/spire-server/cli/localauthority/x509"
	"github.com/spiffe/spire/cmd/spire-server/cli/upstreamauthority"
)

func main() {
	c := cli.NewCLI("spire-server", "1.15.3")
	c.Args = os.Args[1:]
	c.Commands = map[string]cli.CommandFactory{
		"localauthority x509 show":     of(x509.NewX509ShowCommand()),
		"localauthority x509 prepare":  of(x509.NewX509PrepareCommand()),
		"localauthority x509 activate": of(x509.NewX509ActivateCommand()),
		"localauthority x509 taint":    of(x509.NewX509TaintCommand()),
		"localauthority x509 revoke":   of(x509.NewX509RevokeCommand()),
		"localauthority jwt show":      of(jwt.NewJWTShowCommand()),
		"localauthority jwt prepare":   of(jwt.NewJWTPrepareCommand()),
		"localauthority jwt activate":  of(jwt.NewJWTActivateCommand()),
		"localauthority jwt taint":     of(jwt.NewJWTTaintCommand()),
		"localauthority jwt revoke":    of(jwt.NewJWTRevokeCommand()),
		"upstreamauthority taint":      of(upstreamauthority.NewTaintCommand()),
		"upstreamauthority revoke":     of(upstreamauthority.NewRevokeCommand()),
	}
	code, err := c.Run()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func of(command cli.Command) cli.CommandFactory {
	return func() (cli.Command, error) { return command, nil }
}
