package io.natsune

import io.natsune.internal.Batch
import io.natsune.internal.Entry
import io.natsune.internal.Library
import io.natsune.internal.packFields
import io.natsune.internal.unpackFailure
import io.natsune.internal.unpackHeaders
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonNull
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.boolean
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.long
import java.nio.file.Files
import java.nio.file.Path
import java.util.HexFormat
import kotlin.test.Test
import kotlin.test.assertContentEquals
import kotlin.test.assertEquals
import kotlin.test.assertTrue

/** The packed layouts, against the golden vectors that all languages share. */
class VectorsTest {
    private val vectors: JsonObject =
        Json.parseToJsonElement(Files.readString(Path.of(System.getProperty("natsune.vectors"), "batch.json"))).jsonObject

    private fun each(name: String): List<JsonObject> =
        vectors
            .getValue(name)
            .jsonArray
            .map { it.jsonObject }
            .also { assertTrue(it.isNotEmpty()) }

    private fun JsonObject.text(name: String): String = getValue(name).jsonPrimitive.content

    private fun JsonObject.number(name: String): Long = getValue(name).jsonPrimitive.long

    private fun JsonObject.bytes(name: String): ByteArray = HexFormat.of().parseHex(text(name))

    private fun pairs(headers: JsonElement): List<Pair<String, String>> =
        headers.jsonArray.map { it.jsonArray.map { text -> text.jsonPrimitive.content } }.map { it[0] to it[1] }

    @Test
    fun `reads every batch`() {
        for (vector in each("batches")) {
            val batch = Batch(vector.bytes("packed_hex"))
            val messages = vector.getValue("messages").jsonArray.map { it.jsonObject }
            assertEquals(vector.number("state").toInt(), batch.state, vector.text("name"))
            assertEquals(messages.size, batch.count, vector.text("name"))
            messages.forEachIndexed { at, wanted -> same(wanted, batch.entry(at), vector.text("name")) }
        }
    }

    private fun same(
        wanted: JsonObject,
        found: Entry,
        name: String,
    ) {
        assertEquals(wanted.text("subject"), found.subject, name)
        val reply = wanted.getValue("reply")
        assertEquals(if (reply == JsonNull) null else reply.jsonPrimitive.content, found.reply, name)
        assertContentEquals(wanted.bytes("payload_hex"), found.payload, name)
        assertEquals(found.payload.size, found.view.remaining(), name)
        assertEquals(pairs(wanted.getValue("headers")), found.headers.toList(), name)
        assertEquals(wanted.number("status").toInt(), found.status ?: 0, name)
        val metadata = wanted.getValue("metadata")
        assertEquals(metadata != JsonNull, found.isJetStream, name)
        if (metadata == JsonNull) return
        val place = metadata.jsonObject
        assertEquals(
            MessageMetadata(
                place.text("stream"),
                place.text("consumer"),
                place.text("domain").ifEmpty { null },
                place.number("stream_sequence"),
                place.number("consumer_sequence"),
                place.number("delivered"),
                place.number("pending"),
                place.number("timestamp_ns"),
            ),
            found.metadata,
            name,
        )
    }

    @Test
    fun `reads every failure`() {
        for (vector in each("failures")) {
            val failure = unpackFailure(vector.bytes("packed_hex"))
            assertEquals(vector.text("code"), failure.code.word)
            assertEquals(vector.text("message"), failure.message)
            assertEquals(vector.text("applied"), failure.applied.toString())
            assertEquals(vector.getValue("retryable").jsonPrimitive.boolean, failure.retryable)
            val detail = vector.getValue("detail").jsonObject
            assertEquals(detail.keys, failure.detail.keys)
            for ((name, value) in detail) assertEquals(value.jsonPrimitive.content, failure.detail[name].toString())
        }
    }

    @Test
    fun `writes and reads headers`() {
        for (vector in each("headers")) {
            val headers = pairs(vector.getValue("headers"))
            val packed = vector.bytes("packed_hex")
            assertContentEquals(packed, packFields(headers) ?: ByteArray(0), vector.text("name"))
            assertEquals(headers, unpackHeaders(packed, 0, packed.size).toList(), vector.text("name"))
        }
    }

    @Test
    fun `headers that are cut off never throw`() {
        for (vector in each("refused_headers")) {
            val packed = vector.bytes("packed_hex")
            unpackHeaders(packed, 0, packed.size)
        }
    }

    @Test
    fun `a platform without a native part is told which there are`() {
        assertEquals("linux-x86_64", Library.platform("Linux", "amd64"))
        val text = Library.missing(Library.platform("Mac OS X", "aarch64"))
        assertTrue("macos-aarch64" in text && "linux-x86_64" in text, text)
    }
}
