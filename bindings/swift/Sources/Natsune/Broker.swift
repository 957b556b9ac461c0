/// A NATS-compatible server in this process: for tests and small installations.
public final class NatsBroker: Sendable {
    private let handle: Handle

    private init(_ handle: Handle) { self.handle = handle }

    /// Starts one. Without options: in memory, on a free port of the loopback, open to all here. With `storeDir` streams are
    /// durable; with `namespaces` every client needs credentials.
    public static func start(_ options: NatsBrokerOptions = .init()) async throws -> NatsBroker {
        let options = try valid(options)
        return NatsBroker(
            Handle(try await CompletionQueue.shared.run({ try startBroker(queue: $0, options: options) }, finishHandle)))
    }

    /// Where clients connect.
    public var url: String { get throws { try control { try brokerUrl(broker: handle.number) } } }

    /// Where monitoring answers, if anywhere.
    public var monitorUrl: String? { get throws { try control { try brokerMonitorUrl(broker: handle.number) } } }

    /// Makes a namespace.
    @discardableResult
    public func createNamespace(_ name: String) async throws -> NatsNamespaceInfo {
        let number = handle.number
        return try await CompletionQueue.shared.run(
            { try startCreateNamespace(queue: $0, broker: number, name: name) }, finishNamespace)
    }

    /// All namespaces.
    public func namespaces() async throws -> [NatsNamespaceInfo] {
        let number = handle.number
        return try await CompletionQueue.shared.run({ try startListNamespaces(queue: $0, broker: number) }, finishNamespaces)
    }

    /// Deletes a namespace with its streams and credentials; its clients are disconnected.
    public func deleteNamespace(_ name: String) async throws {
        let number = handle.number
        try await CompletionQueue.shared.run { try startDeleteNamespace(queue: $0, broker: number, name: name) }
    }

    /// Makes credentials: all rights in their namespace, none elsewhere. They are given out this once.
    public func createCredentials(namespace: String, name: String) async throws -> NatsCredentials {
        let number = handle.number
        let made = try await CompletionQueue.shared.run(
            { try startCreateCredentials(queue: $0, broker: number, namespace: namespace, name: name) }, finishCredentials)
        return .text(made.credsText ?? "")
    }

    /// What credentials a namespace has, without their secrets.
    public func credentials(namespace: String) async throws -> [NatsCredentialsInfo] {
        let number = handle.number
        return try await CompletionQueue.shared.run(
            { try startListCredentials(queue: $0, broker: number, namespace: namespace) }, finishCredentialsList)
    }

    /// Deletes credentials; their clients are disconnected.
    public func deleteCredentials(namespace: String, name: String) async throws {
        let number = handle.number
        try await CompletionQueue.shared.run {
            try startDeleteCredentials(queue: $0, broker: number, namespace: namespace, name: name)
        }
    }

    /// Ends it; what was acknowledged is on disk. Again is nothing.
    public func stop() async throws {
        let number = handle.number
        try await CompletionQueue.shared.run { try startBrokerStop(queue: $0, broker: number) }
    }
}
