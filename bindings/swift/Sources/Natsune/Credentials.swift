import Foundation

/// What proves who a client is. It never shows its secret.
public struct NatsCredentials: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    enum Source: Sendable {
        case file(String)
        case text(String)
    }

    let source: Source

    /// A `.creds` file, read again at each connect.
    public static func file(_ path: String) -> NatsCredentials { NatsCredentials(source: .file(path)) }

    /// The text of a `.creds` file.
    public static func text(_ text: String) -> NatsCredentials { NatsCredentials(source: .text(text)) }

    /// Writes the text to a file that only its owner may read.
    public func save(to path: String) throws {
        guard case .text(let text) = source else { throw NatsError.invalid("these credentials are a file already") }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        // An older file may have had other rights.
        guard fchmod(descriptor, 0o600) == 0 else { throw POSIXError(.init(rawValue: errno) ?? .EIO) }
        try file.write(contentsOf: Data(text.utf8))
        try file.close()
    }

    /// Says where they are, never what they are.
    public var description: String {
        if case .file(let path) = source { return "NatsCredentials(file: \(path))" }
        return "NatsCredentials(text: ...)"
    }

    /// The same.
    public var debugDescription: String { description }
    /// Nothing of them.
    public var customMirror: Mirror { Mirror(self, children: []) }
}

extension NatsConnectOptions {
    /// Options with credentials; set the rest afterwards.
    public init(creds: NatsCredentials) {
        self.init()
        switch creds.source {
        case .file(let path): credsFile = path
        case .text(let text): credsText = text
        }
    }
}
