import Foundation
import Natsune

extension Args {
    var connectOptions: NatsConnectOptions {
        var options = NatsConnectOptions()
        options.servers = texts("servers") ?? []
        options.name = text("name")
        (options.user, options.password, options.token) = (text("user"), text("password"), text("token"))
        (options.nkeySeed, options.credsFile, options.credsText) = (text("nkey_seed"), text("creds_file"), text("creds_text"))
        if has("tls") {
            let tls = object("tls")
            var told = NatsTlsOptions()
            told.required = tls.flag("required") ?? false
            (told.caPem, told.caFile) = (tls.text("ca_pem"), tls.text("ca_file"))
            (told.certPem, told.keyPem) = (tls.text("cert_pem"), tls.text("key_pem"))
            told.handshakeFirst = tls.flag("handshake_first") ?? false
            told.serverName = tls.text("server_name")
            options.tls = told
        }
        options.connectTimeout = seconds("connect_timeout")
        (options.reconnectDelay, options.reconnectDelayMax) = (seconds("reconnect_delay"), seconds("reconnect_delay_max"))
        options.maxReconnects = u64("max_reconnects")
        options.pingInterval = seconds("ping_interval")
        (options.outboundMark, options.outboundLimit) = (u64("outbound_mark"), u64("outbound_limit"))
        (options.publishTimeout, options.requestTimeout) = (seconds("publish_timeout"), seconds("request_timeout"))
        options.drainTimeout = seconds("drain_timeout")
        options.bufferWhileDisconnected = flag("buffer_while_disconnected")
        options.retryOnFailedConnect = flag("retry_on_failed_connect") ?? false
        options.noEcho = flag("no_echo") ?? false
        options.inboxPrefix = text("inbox_prefix")
        options.ignoreDiscoveredServers = flag("ignore_discovered_servers") ?? false
        return options
    }

    var streamConfig: NatsStreamConfig {
        let config = object("config")
        var told = NatsStreamConfig(name: config.text("name") ?? "")
        told.description = config.text("description")
        told.subjects = config.texts("subjects") ?? []
        switch config.text("retention") {
        case "workqueue": told.retention = .workqueue
        case "interest": told.retention = .interest
        case "limits": told.retention = .limits
        default: break
        }
        if config.text("storage") == "memory" { told.storage = .memory }
        (told.maxMessages, told.maxMessagesPerSubject) = (config.i64("max_messages"), config.i64("max_messages_per_subject"))
        return told
    }

    var consumerConfig: NatsConsumerConfig {
        let config = object("config")
        var told = NatsConsumerConfig()
        (told.durable, told.name) = (config.text("durable"), config.text("name"))
        if config.text("ack_policy") == "explicit" { told.ackPolicy = .explicit }
        told.ackWait = config.seconds("ack_wait")
        (told.maxDeliver, told.maxAckPending) = (config.i64("max_deliver"), config.i64("max_ack_pending"))
        told.filterSubject = config.text("filter_subject")
        told.filterSubjects = config.texts("filter_subjects") ?? []
        return told
    }

    var brokerOptions: NatsBrokerOptions {
        var told = NatsBrokerOptions()
        told.storeDir = text("store_dir")
        told.namespaces = flag("namespaces") ?? false
        return told
    }
}
