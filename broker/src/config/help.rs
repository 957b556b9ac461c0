//! The help text of the binary.

/// What `--help` prints.
pub const HELP: &str = "\
Usage: natsune-broker [flags]
       natsune-broker namespace create NAME | list | delete NAME
       natsune-broker credentials create NAMESPACE NAME [--output FILE] | list [NAMESPACE] | delete NAMESPACE NAME

Flags take one or two dashes, and their value after a blank or after `=`. A flag beats the configuration file.

Server:
    -a, --addr, --net HOST           address to listen on (127.0.0.1, or everywhere when clients must authenticate)
    -p, --port PORT                  client port (4222; -1 picks a free one)
    -n, --name, --server_name NAME   name of the server
    -P, --pid FILE                   file for the process id
    -m, --http_port PORT             monitoring port (-1 picks a free one)
        --ports_file_dir DIR         folder for a file with the ports
        --client_advertise HOST:PORT address that clients are told
    -c, --config FILE                configuration file
    -t                               check the configuration file and end
    -sl, --signal SIGNAL[=PID|FILE]  tell a running server to stop, quit, term, reopen, reload or ldm
        --insecure                   listen beyond this machine although nobody has to authenticate

JetStream:
    -js, --jetstream                 turn JetStream on
    -sd, --store_dir DIR             folder of the store (without it everything stays in memory)

Authentication:
        --user USER, --pass PASSWORD one user
        --auth TOKEN                 one token
        --namespaces DIR             namespaces with credentials, kept in this folder

TLS:
        --tls                        serve TLS (needs a certificate and its key)
        --tlscert FILE               certificate
        --tlskey FILE                key of the certificate
        --tlsverify                  ask for client certificates
        --tlscacert FILE             authorities for client certificates

Log:
    -l, --log FILE                   file to log to, instead of standard error
    -T, --logtime BOOL               time in each line (true)
    -D, --debug                      debug lines
    -V, --trace                      protocol lines
    -DV                              both

Namespaces and credentials (the server may run meanwhile, it notices within a second):
        --dir DIR                    folder of the namespaces (data/namespaces)
    -c, --config FILE                take the folder from this configuration file
    -o, --output FILE                file for new credentials, readable by its owner only
        --json                       answer in JSON

    -h, --help                       this text
    -v, --version                    the version
";
