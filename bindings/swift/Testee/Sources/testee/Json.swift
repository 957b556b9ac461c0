import Foundation
import Natsune

/// JSON objects as the runner writes them.
struct Args: @unchecked Sendable {
    let fields: [String: Any]

    func has(_ name: String) -> Bool { fields[name] != nil && !(fields[name] is NSNull) }
    func text(_ name: String) -> String? { fields[name] as? String }
    func int(_ name: String) -> Int? { (fields[name] as? NSNumber)?.intValue }
    func u64(_ name: String) -> UInt64? { (fields[name] as? NSNumber)?.uint64Value }
    func i64(_ name: String) -> Int64? { (fields[name] as? NSNumber)?.int64Value }
    func seconds(_ name: String) -> Double? { (fields[name] as? NSNumber)?.doubleValue }
    func span(_ name: String) -> Duration? { seconds(name).map { .seconds($0) } }
    func flag(_ name: String) -> Bool? { (fields[name] as? NSNumber)?.boolValue }
    func texts(_ name: String) -> [String]? { fields[name] as? [String] }
    func object(_ name: String) -> Args { Args(fields: fields[name] as? [String: Any] ?? [:]) }
    func needed(_ name: String) throws -> String {
        guard let text = text(name) else { throw Foreign("the operation wants \(name)") }
        return text
    }
    var payload: Data { Data(base64Encoded: text("data") ?? "") ?? Data() }
    var headers: NatsHeaders? {
        guard let pairs = fields["headers"] as? [[String]], !pairs.isEmpty else { return nil }
        return NatsHeaders(pairs.map { ($0[0], $0[1]) })
    }
}

struct Foreign: Error, CustomStringConvertible {
    let description: String
    init(_ text: String) { description = text }
}

/// A JSON object to answer with.
struct Json: @unchecked Sendable {
    var fields: [String: Any]
    init(_ fields: [String: Any?] = [:]) { self.fields = fields.mapValues { $0 ?? NSNull() } }
}

/// Any document by its own fields, spelled as the runner spells them.
func describe(_ value: Any) -> Any {
    let mirror = Mirror(reflecting: value)
    switch value {
    case let text as String: return text
    case let flag as Bool: return flag
    case let number as any BinaryInteger: return Int64(truncatingIfNeeded: number)
    case let number as Double: return number
    case let date as Date: return ISO8601DateFormatter().string(from: date)
    case let map as [String: String]: return map
    case let map as [String: UInt64]: return map
    default: break
    }
    switch mirror.displayStyle {
    case .optional: return mirror.children.first.map { describe($0.value) } ?? NSNull()
    case .collection: return mirror.children.map { describe($0.value) }
    case .enum:
        // A case without a payload prints as its name.
        return mirror.children.first.map { describe($0.value) } ?? snake("\(value)")
    case .struct:
        var fields: [String: Any] = [:]
        for child in mirror.children { fields[snake(child.label ?? "")] = describe(child.value) }
        return fields
    default: return "\(value)"
    }
}

func snake(_ name: String) -> String {
    name.reduce(into: "") { $0 += $1.isUppercase ? "_" + $1.lowercased() : String($1) }
}

func document(_ value: Any) -> Json { Json(describe(value) as? [String: Any] ?? [:]) }

func message(_ found: NatsMessage) -> [String: Any] {
    [
        "subject": found.subject, "data": found.data.base64EncodedString(), "reply": found.reply ?? NSNull(),
        "headers": found.headers.map { [$0.name, $0.value] }, "status": found.status ?? NSNull(),
    ]
}

func message(_ found: NatsJetStreamMessage) -> [String: Any] {
    var told = message(found.message)
    told["metadata"] = describe(found.metadata)
    if var place = told["metadata"] as? [String: Any] {
        place["timestamp_ns"] = place.removeValue(forKey: "timestamp_nanos")
        told["metadata"] = place
    }
    return told
}

func message(_ found: NatsStoredMessage) -> [String: Any] {
    [
        "subject": found.subject, "data": found.data.base64EncodedString(), "reply": NSNull(),
        "headers": found.headers.map { [$0.name, $0.value] }, "sequence": found.sequence, "timestamp_ns": found.timestampNanos,
    ]
}
