package io.natsune

import io.natsune.internal.invalid
import java.nio.file.Files
import java.nio.file.Path
import java.nio.file.StandardOpenOption
import java.nio.file.attribute.PosixFilePermissions

/** What proves who a client is. It never shows its secret. */
public class Credentials private constructor(
    internal val path: String?,
    internal val text: String?,
) {
    /** Writes the text to a file that only its owner may read. */
    public fun save(to: Path) {
        val content = Charsets.UTF_8.encode(text ?: throw invalid("these credentials are a file already"))
        val owner = PosixFilePermissions.fromString("rw-------")
        val options = setOf(StandardOpenOption.CREATE, StandardOpenOption.TRUNCATE_EXISTING, StandardOpenOption.WRITE)
        Files.newByteChannel(to, options, PosixFilePermissions.asFileAttribute(owner)).use { file ->
            // An older file may have had other rights.
            Files.setPosixFilePermissions(to, owner)
            while (content.hasRemaining()) file.write(content)
        }
    }

    override fun toString(): String = if (path != null) "Credentials(file: $path)" else "Credentials(text: ...)"

    /** Makes them. */
    public companion object {
        /** A `.creds` file, read again at each connect. */
        public fun file(path: String): Credentials = Credentials(path, null)

        /** A `.creds` file, read again at each connect. */
        public fun file(path: Path): Credentials = Credentials(path.toString(), null)

        /** The text of a `.creds` file. */
        public fun text(text: String): Credentials = Credentials(null, text)
    }
}
