package io.natsune.testee

import io.natsune.Headers
import io.natsune.JetStreamMessage
import io.natsune.Message
import io.natsune.MessageMetadata
import io.natsune.StoredMessage
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.booleanOrNull
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.doubleOrNull
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.longOrNull
import java.lang.reflect.Modifier
import java.lang.reflect.ParameterizedType
import java.lang.reflect.Type
import java.time.Instant
import java.util.Base64
import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds
import kotlin.time.DurationUnit

/** JSON objects as the runner writes them. */
class Args(
    val fields: JsonObject,
) {
    private fun of(name: String): JsonElement? = fields[name].takeIf { it != JsonNull }

    private fun plain(name: String): JsonPrimitive? = of(name) as? JsonPrimitive

    fun has(name: String): Boolean = of(name) != null

    fun text(name: String): String? = plain(name)?.contentOrNull

    fun long(name: String): Long? = plain(name)?.let { it.longOrNull ?: it.doubleOrNull?.toLong() }

    fun int(name: String): Int? = long(name)?.toInt()

    fun flag(name: String): Boolean = plain(name)?.booleanOrNull ?: false

    fun span(name: String): Duration? = plain(name)?.doubleOrNull?.seconds

    fun fields(name: String): Args = Args(of(name) as? JsonObject ?: JsonObject(emptyMap()))

    fun needed(name: String): String = text(name) ?: throw Foreign("the operation wants $name")

    val payload: ByteArray get() = Base64.getDecoder().decode(text("data").orEmpty())

    val headers: Headers?
        get() {
            val pairs = (of("headers") as? JsonArray)?.map { (it as JsonArray).map { text -> text.jsonPrimitive.content } }
            if (pairs.isNullOrEmpty()) return null
            return Headers(*pairs.map { it[0] to it[1] }.toTypedArray())
        }
}

fun json(vararg fields: Pair<String, Any?>): JsonObject = JsonObject(fields.associate { (name, value) -> name to tell(value) })

/** Any value or document, its fields spelled as the runner spells them. */
fun tell(value: Any?): JsonElement =
    when (value) {
        null -> JsonNull
        is JsonElement -> value
        is String -> JsonPrimitive(value)
        is Boolean -> JsonPrimitive(value)
        is Number -> JsonPrimitive(value)
        is Duration -> JsonPrimitive(value.toDouble(DurationUnit.SECONDS))
        is Instant -> JsonPrimitive(value.toString())
        is Iterable<*> -> JsonArray(value.map(::tell))
        is Map<*, *> -> JsonObject(value.entries.associate { (name, each) -> name.toString() to tell(each) })
        else -> record(value)
    }

private fun record(value: Any): JsonElement {
    val type = value.javaClass
    // A case of a word: an object has no fields, the case for unknown words has one.
    if (Modifier.isAbstract(type.superclass.modifiers)) {
        val other = type.declaredFields.firstOrNull { !Modifier.isStatic(it.modifiers) }
        other?.isAccessible = true
        return JsonPrimitive(other?.get(value)?.toString() ?: snake(type.simpleName))
    }
    return JsonObject(
        type.declaredFields.filter { !Modifier.isStatic(it.modifiers) }.associate {
            it.isAccessible = true
            snake(it.name) to tell(it.get(value))
        },
    )
}

fun document(value: Any?): JsonObject = tell(value) as? JsonObject ?: JsonObject(emptyMap())

private fun snake(name: String): String = name.replace(Regex("(?<!^)([A-Z])")) { "_" + it.value }.lowercase()

/** Sets the fields of a document from JSON; a field that it does not have is said. */
fun <T : Any> T.fill(args: Args): T {
    val fields = javaClass.declaredFields.associateBy { snake(it.name) }
    for ((name, value) in args.fields) {
        if (value == JsonNull) continue
        val field = fields[name] ?: throw Foreign("${javaClass.simpleName} has no field $name")
        field.isAccessible = true
        field.set(this, read(field.genericType, value))
    }
    return this
}

private fun read(
    type: Type,
    value: JsonElement,
): Any? {
    if (type is ParameterizedType) {
        val inner = type.actualTypeArguments.last()
        return when (value) {
            is JsonArray -> value.map { read(inner, it) }
            is JsonObject -> value.mapValues { read(inner, it.value) }
            else -> throw Foreign("a list or an object is wanted")
        }
    }
    val plain = value as? JsonPrimitive
    return when (type) {
        String::class.java -> plain?.content
        Boolean::class.java, Boolean::class.javaObjectType -> plain?.booleanOrNull
        Long::class.java, Long::class.javaObjectType -> plain?.longOrNull
        Int::class.java, Int::class.javaObjectType -> plain?.longOrNull?.toInt()
        Duration::class.java -> plain?.doubleOrNull?.seconds
        else -> nested(type as Class<*>, value)
    }
}

/** A case of a word, or a document in a document. */
private fun nested(
    type: Class<*>,
    value: JsonElement,
): Any {
    if (value is JsonObject) return type.getDeclaredConstructor().newInstance().fill(Args(value))
    val word = value.jsonPrimitive.content
    val case = type.declaredClasses.firstOrNull { snake(it.simpleName) == word } ?: throw Foreign("no case is called $word")
    return case.getField("INSTANCE").get(null)
}

fun message(found: Message): JsonObject {
    val told =
        json(
            "subject" to found.subject,
            "data" to Base64.getEncoder().encodeToString(found.data),
            "reply" to found.reply,
            "headers" to found.headers.map { listOf(it.first, it.second) },
            "status" to found.status,
        )
    if (found !is JetStreamMessage) return told
    return JsonObject(told + ("metadata" to metadata(found.metadata)))
}

private fun metadata(place: MessageMetadata): JsonObject {
    val told = document(place)
    return JsonObject(told - "timestamp_nanos" + ("timestamp_ns" to JsonPrimitive(place.timestampNanos)))
}

fun message(found: StoredMessage): JsonObject =
    json(
        "subject" to found.subject,
        "data" to Base64.getEncoder().encodeToString(found.data),
        "reply" to null,
        "headers" to found.headers.map { listOf(it.first, it.second) },
        "sequence" to found.sequence,
        "timestamp_ns" to found.timestampNanos,
    )
