import Foundation

/// The document, when the generated lane can write it: a duration or an instant that it cannot would end the process there.
func valid<Document>(_ document: Document, _ field: String = "") throws -> Document {
    try look(document, field)
    return document
}

private func look(_ value: Any, _ field: String) throws {
    // What a number of seconds may be at most; far beyond what a server takes.
    let most = 9e18
    switch value {
    case let seconds as TimeInterval:
        // Not a number is neither.
        guard seconds >= 0, seconds <= most else {
            throw NatsError.invalid("the field `\(field)` must be seconds from 0 on", field: field)
        }
    case let date as Date:
        guard abs(date.timeIntervalSince1970) <= most else {
            throw NatsError.invalid("the field `\(field)` is too far away", field: field)
        }
    default:
        for child in Mirror(reflecting: value).children {
            let name = child.label.map { $0 == "some" ? field : inSnakeCase($0) } ?? field
            try look(child.value, name)
        }
    }
}

/// A field as it is named in every language's details.
private func inSnakeCase(_ name: String) -> String {
    name.reduce(into: "") { $0 += $1.isUppercase ? "_" + $1.lowercased() : String($1) }
}

/// What a document shows of itself: the fields of its mirror that are set.
private func told(_ name: String, _ document: some CustomReflectable) -> String {
    let fields = document.customMirror.children.compactMap { child -> String? in
        let value = Mirror(reflecting: child.value)
        guard value.displayStyle == .optional else { return "\(child.label ?? ""): \(child.value)" }
        return value.children.first.map { "\(child.label ?? ""): \($0.value)" }
    }
    return "\(name)(\(fields.joined(separator: ", ")))"
}

// Documents with secrets show the fields that are told here, and no others, to whatever prints them. `valid` sees the same: every
// duration and instant of these documents must stand here.

extension NatsConnectOptions: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Never a secret.
    public var description: String { told("NatsConnectOptions", self) }
    /// Never a secret.
    public var debugDescription: String { description }
    /// Never a secret.
    public var customMirror: Mirror {
        // A server may have its user and password in front.
        let places = servers.map { $0.split(separator: "@").last.map(String.init) ?? "" }
        return Mirror(
            self,
            children: [
                "servers": places, "name": name as Any, "connectTimeout": connectTimeout as Any,
                "reconnectDelay": reconnectDelay as Any, "reconnectDelayMax": reconnectDelayMax as Any,
                "pingInterval": pingInterval as Any, "writeTimeout": writeTimeout as Any,
                "publishTimeout": publishTimeout as Any, "requestTimeout": requestTimeout as Any,
                "subscribeTimeout": subscribeTimeout as Any, "drainTimeout": drainTimeout as Any,
            ])
    }
}

extension NatsTlsOptions: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Never a secret.
    public var description: String { told("NatsTlsOptions", self) }
    /// Never a secret.
    public var debugDescription: String { description }
    /// Never a secret.
    public var customMirror: Mirror { Mirror(self, children: ["required": required, "serverName": serverName as Any]) }
}

extension NatsBrokerOptions: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Never a secret.
    public var description: String { told("NatsBrokerOptions", self) }
    /// Never a secret.
    public var debugDescription: String { description }
    /// Never a secret.
    public var customMirror: Mirror {
        Mirror(
            self,
            children: [
                "host": host as Any, "port": port as Any, "storeDir": storeDir as Any, "syncInterval": syncInterval as Any,
            ])
    }
}

extension NatsCredentialsInfo: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    /// Never a secret.
    public var description: String { told("NatsCredentialsInfo", self) }
    /// Never a secret.
    public var debugDescription: String { description }
    /// Never a secret.
    public var customMirror: Mirror { Mirror(self, children: ["id": id, "name": name, "namespace": namespace]) }
}
